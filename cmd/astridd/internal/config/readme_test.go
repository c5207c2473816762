package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestREADMEsConfigurationLoads feeds the README's first configuration to the
// daemon's own reader: it is what a new user types.
func TestREADMEsConfigurationLoads(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?m)(?:^    [a-z_]+ = .*\n)+").FindString(string(b))
	if block == "" {
		t.Fatal("the README shows no configuration")
	}
	text := strings.ReplaceAll(block, "    ", "")
	if _, err := Parse("/etc/astrid/astridd.toml", text, "", "/usr/bin/astridd"); err != nil {
		t.Errorf("the README's configuration is refused:\n%s%v", text, err)
	}
}
