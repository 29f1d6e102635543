package node

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/ini"
)

// A Config is what a slapos.cfg says about one computer. Options of other
// programs are left alone.
type Config struct {
	Computer     string // computer_id
	Master       string // master_url
	Key, Cert    string // files of the computer's certificate
	CA           string // master_ca_file: what signed the master's certificate
	Certificates string // certificate_repository_path: folder of the partitions' certificates; "" keeps none
	Software     string // software_root
	Instances    string // instance_root
	StorageHome  string // instance_storage_home
	Network      string // ipv4_global_network
	Buildout     string // program that bootstraps a software release; "" finds one
	Python       string // [weir] python: runs Python promises of releases that have none
	Shared       []string
	BuildTime    []string

	// Periodicity is how old a partition's last processing may be; negative
	// never makes it too old, zero always. A release's file periodicity goes
	// before it.
	Periodicity      time.Duration
	PromiseTimeout   time.Duration
	PartitionTimeout time.Duration // of a run of buildout; 0 is no limit
	MaximalDelay     time.Duration // run begins at a random moment within it
	SoftwareMinFree  int64         // bytes of software_root that a build needs
	InstanceMinFree  int64

	// Pidfiles by command: software, instance, report.
	Pidfiles map[string]string
	Parallel int   // partitions at a time; [weir] parallel
	LogBytes int64 // of a program, before its log is rotated; [weir] log_size

	// Processes (threads counted) and Memory in bytes are what a partition's
	// programs may use together, 0 without limit; [weir] partition_processes,
	// partition_memory.
	Processes, Memory int64
	// Token is sent to a master of weir's that wants one; [weir] token_file
	// has it.
	Token string

	Format  FormatConfig
	Collect CollectConfig
}

// LoadConfig reads a slapos.cfg. Options that are given go before it: of its
// section [slapos] by name, of others as SECTION/NAME. The error tells all
// mistakes.
func LoadConfig(path string, options map[string]string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("node: configuration: %w", err)
	}
	defer f.Close()
	sections, err := ini.Read(f)
	if err != nil {
		return nil, fmt.Errorf("node: configuration %s: %w", path, err)
	}
	for name, value := range options {
		section, option, ok := strings.Cut(name, "/")
		if !ok {
			section, option = "slapos", name
		}
		sections = append(sections, ini.Section{Name: section, Values: map[string]string{option: value}})
	}
	r := reader{path: path, sections: sections}
	c := r.config()
	return c, errors.Join(r.mistakes...)
}

// A reader takes options from sections and gathers what is wrong.
type reader struct {
	path     string
	sections []ini.Section
	mistakes []error
}

// text gives the last value of an option, or the fallback.
func (r *reader) text(section, name, fallback string) string {
	for _, s := range r.sections {
		if v, ok := s.Values[name]; s.Name == section && ok && v != "" {
			fallback = v
		}
	}
	return fallback
}

func (r *reader) mistake(section, name, text string) {
	line := 0
	for _, s := range r.sections {
		if s.Name == section && s.Lines[name] > 0 {
			line = s.Lines[name]
		}
	}
	r.mistakes = append(r.mistakes, fmt.Errorf("%s:%d: [%s] %s %s", r.path, line, section, name, text))
}

// folder gives an absolute path, which has to be there.
func (r *reader) folder(name string) string {
	v := r.text("slapos", name, "")
	switch {
	case v == "":
		r.mistake("slapos", name, "is missing")
	case !filepath.IsAbs(v):
		r.mistake("slapos", name, fmt.Sprintf("= %q is no absolute path", v))
	}
	return filepath.Clean(v)
}

func (r *reader) seconds(section, name string, fallback time.Duration) time.Duration {
	v := r.text(section, name, "")
	if v == "" {
		return fallback
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || f > 1e9 || f < -1e9 || f != f {
		r.mistake(section, name, fmt.Sprintf("= %q is no number of seconds", v))
		return fallback
	}
	return time.Duration(f * float64(time.Second))
}

func (r *reader) number(section, name string, fallback, least int) int {
	v := r.text(section, name, "")
	if v == "" {
		return fallback
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least {
		r.mistake(section, name, fmt.Sprintf("= %q is no number from %d on", v, least))
		return fallback
	}
	return n
}

func (r *reader) truth(section, name string, fallback bool) bool {
	switch v := strings.ToLower(r.text(section, name, "")); v {
	case "":
	case "true", "yes", "on", "1", "y", "t":
		return true
	case "false", "no", "off", "0", "n", "f":
		return false
	default:
		r.mistake(section, name, fmt.Sprintf("= %q is neither true nor false", v))
	}
	return fallback
}

// size reads a number of bytes, such as 1000M.
func (r *reader) size(section, name string, fallback int64) int64 {
	v := r.text(section, name, "")
	if v == "" {
		return fallback
	}
	n, err := parseSize(v)
	if err != nil {
		r.mistake(section, name, fmt.Sprintf("= %q is no size: write bytes, or a number and K, M, G or T", v))
		return fallback
	}
	return n
}

// ownOptions are those of [weir], a section that nobody else writes.
var ownOptions = []string{"log_size", "parallel", "partition_memory", "partition_processes", "push", "push_password", "push_uid", "push_user", "python", "token_file"}

// known refuses options of [weir] that there are not.
func (r *reader) known() {
	for _, s := range r.sections {
		if s.Name != "weir" {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(s.Values)) {
			if !slices.Contains(ownOptions, name) {
				r.mistake("weir", name, "is no option; there are "+strings.Join(ownOptions, ", "))
			}
		}
	}
}

// token reads the file of the token for the master.
func (r *reader) token() string {
	file := r.text("weir", "token_file", "")
	if file == "" {
		return ""
	}
	b, err := os.ReadFile(file)
	text := strings.TrimSpace(string(b))
	switch {
	case err != nil:
		r.mistake("weir", "token_file", err.Error())
	case text == "" || strings.ContainsAny(text, "\n\r\x00"):
		r.mistake("weir", "token_file", fmt.Sprintf("= %q has to have one line, the token", file))
	}
	return text
}

func parseSize(v string) (int64, error) {
	text := strings.TrimSuffix(strings.ToUpper(strings.TrimSpace(v)), "B")
	shift := 0
	if k := strings.IndexByte("KMGT", last(text)); k >= 0 {
		shift, text = 10*(k+1), text[:len(text)-1]
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || !(f >= 0 && f < 1<<20) && shift > 0 || !(f >= 0 && f < 1<<60) {
		return 0, errors.New("no size")
	}
	return int64(f * float64(int64(1)<<shift)), nil
}

func last(s string) byte {
	if s == "" {
		return 0
	}
	return s[len(s)-1]
}

func (r *reader) config() *Config {
	c := &Config{
		Computer: r.text("slapos", "computer_id", ""), Master: r.text("slapos", "master_url", ""),
		Key: r.text("slapos", "key_file", ""), Cert: r.text("slapos", "cert_file", ""), CA: r.text("slapos", "master_ca_file", ""),
		Certificates: r.text("slapos", "certificate_repository_path", ""),
		Software:     r.folder("software_root"), Instances: r.folder("instance_root"),
		StorageHome: r.text("slapos", "instance_storage_home", ""), Network: r.text("slapos", "ipv4_global_network", ""),
		Buildout: r.text("slapos", "buildout", ""),
		Shared:   ini.List(r.text("slapos", "shared_part_list", "")), BuildTime: ini.List(r.text("slapos", "build_time_part_list", "")),
		Periodicity:      r.seconds("slapos", "maximum_periodicity", 24*time.Hour),
		PromiseTimeout:   r.seconds("slapos", "promise_timeout", 20*time.Second),
		PartitionTimeout: r.seconds("slapos", "partition_timeout", 0),
		MaximalDelay:     r.seconds("slapos", "maximal_delay", 0),
		SoftwareMinFree:  r.size("slapos", "software_min_free_space", 1000<<20),
		InstanceMinFree:  r.size("slapos", "instance_min_free_space", 1000<<20),
		Python:           r.text("weir", "python", ""),
		LogBytes:         r.size("weir", "log_size", 100<<10),
		Parallel:         r.number("weir", "parallel", max(2, runtime.NumCPU()), 1),
		Pidfiles:         map[string]string{},
		Processes:        r.processes(),
		Memory:           r.memory(),
		Token:            r.token(),
	}
	r.known()
	if c.Computer == "" {
		r.mistake("slapos", "computer_id", "is missing")
	}
	if c.Master == "" {
		r.mistake("slapos", "master_url", "is missing")
	}
	for _, command := range []string{"software", "instance", "report"} {
		c.Pidfiles[command] = r.text("slapos", "pidfile_"+command, "")
	}
	c.Format, c.Collect = r.format(c), r.collect()
	return c
}
