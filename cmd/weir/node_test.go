package main

import (
	"strings"
	"testing"
)

// TestSlaposFlags: the commands of a node take slapos's flags, as slapos spells
// them.
func TestSlaposFlags(t *testing.T) {
	t.Parallel()
	const common = "--cfg F --instance-root F --software-root F --master-url U --computer-id C --supervisord-socket F --supervisord-configuration-path F --buildout F --pidfile F " +
		"--key_file F --cert_file F --signature_private_key_file F --master_ca_file F --certificate_repository_path F --maximum-periodicity 1 --promise-timeout 2 --partition-timeout 3 --now --maximal_delay 4 -v -q --log-file F "
	for command, flags := range map[string]string{
		"software": common + "--buildout-debug --garbage-collect --force --all --only-sr U --only U",
		"instance": common + "--buildout-debug --force-stop --force --all --only-cp P --only P",
		"promise":  common + "--only-cp P --only P",
		"report":   common,
		"collect":  "--cfg F -v -q --log-file F",
		"format":   "--cfg F -x F --computer_xml F -i F --input_definition_file F --alter_user True --alter_network False --now -n --dry_run -c x --console x -v",
		"bang":     "--cfg F -m TEXT --message TEXT",
	} {
		c, _, err := newNode().Find([]string{command})
		if err != nil || c.Name() != command {
			t.Errorf("%s: %v", command, err)
			continue
		}
		if err := c.ParseFlags(strings.Fields(flags)); err != nil {
			t.Errorf("%s: %v", command, err)
		}
		if err := c.ParseFlags([]string{"--no-such-flag"}); err == nil {
			t.Errorf("%s takes anything", command)
		}
	}
}
