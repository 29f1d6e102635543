package slap

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLoadClientConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, cert := filepath.Join(dir, "c.cfg"), filepath.Join(dir, "c.crt")
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(cert, "x")
	write(file, "[slapos]\nmaster_url = http://m/\n[slapconsole]\ncert_file = "+cert+"\nkey_file = key file location coming from your account\nca_file = "+cert+"\n")
	if o, err := LoadClientConfig(file); err != nil || o.URL != "http://m/" || o.Cert != cert || o.Key != "" || o.CA != cert {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range []string{"[slapos]\n", "x"} {
		write(file, bad)
		if o, err := LoadClientConfig(file); err == nil {
			t.Errorf("%q: %+v", bad, o)
		}
	}
	if _, err := LoadClientConfig(filepath.Join(dir, "absent")); err == nil {
		t.Error("a file that is not there is no error")
	}
}
