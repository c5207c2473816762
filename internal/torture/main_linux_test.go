package torture

import (
	"os"
	"testing"

	"github.com/astrid-os/processledger/internal/daemontest"
)

func TestMain(m *testing.M) { os.Exit(daemontest.Main(m)) }
