package crashstories

import (
	"os"
	"testing"

	"github.com/astrid-os/processledger/internal/daemontest"
)

func TestMain(m *testing.M) { os.Exit(daemontest.Main(m)) }

// step is one of the tests' capsule.
type step = daemontest.Step
