// Package weir has no code: its test holds the rules of the house for all
// packages of the module.
package weir

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// imports says which packages of the module a package may import. An import
// follows the data or skips a step; it never points back.
var imports = map[string][]string{
	"":                         {},
	"forward":                  {"forward/internal/inflate"},
	"forward/internal/inflate": {},
	"internal/vfs":             {},
	"internal/ledger":          {"streams"},
	"internal/replace":         {},
	"internal/e2e":             {},
	"access":                   {},
	"tags":                     {},
	"catalog":                  {"streams", "internal/ledger"},
	"buckets":                  {"streams"},
	"streams":                  {"internal/vfs"},
	"arrays/npy":               {},
	"arrays":                   {"arrays/npy", "forward", "streams", "internal/vfs"},           // forward for the form of entries
	"policies":                 {"streams", "arrays", "forward", "buckets", "catalog", "tags"}, // forward for the form of entries
	"lake":                     {"streams", "internal/ledger"},
	"conf":                     {"jobs", "access", "catalog", "tags", "policies", "streams", "arrays", "forward"},
	"jobs":                     {"streams", "internal/ledger"},
	"jobs/cimi":                {"jobs"},
	"jobs/queuetest":           {"jobs"},
	"jobs/zookeeper":           {"jobs", "internal/zk"},
	"internal/zk":              {},
	"internal/httpapi":         {"access", "buckets", "catalog", "policies", "streams", "arrays", "arrays/npy", "jobs/cimi", "lake", "forward", "records", "telemetry"},
	"internal/ini":             {},
	"records":                  {"forward"},
	"telemetry":                {},
	"slap":                     {"internal/ini"},
	"internal/push":            {"internal/replace"},
	"internal/sender":          {},
	"slap/deploy":              {"slap"},
	"slap/authority":           {"internal/replace"},
	"slap/master":              {"slap", "slap/authority", "streams", "internal/ini", "internal/ledger"},
	"slap/supervise":           {"internal/proc"},
	"slap/promise":             {"internal/proc"},
	"slap/requested":           {},
	"slap/collect":             {"internal/proc", "internal/replace"},
	"slap/node":                {"slap", "slap/supervise", "slap/promise", "slap/requested", "slap/collect", "internal/ini", "internal/proc", "internal/replace"},
	"internal/proc":            {},
	"internal/metrics":         {"forward", "policies", "streams", "arrays", "internal/httpapi", "jobs", "lake", "slap/deploy"},
	"internal/demo":            {"arrays"},
	"internal/server":          {"*"},
	"cmd/weir":                 {"*"},
}

// confined says which package alone may import a module.
var confined = map[string]string{
	"github.com/valyala/fasthttp": "internal/httpapi",
}

// A pkg is what go list says of a package.
type pkg struct {
	Dir, ImportPath, Name string
	GoFiles               []string
	Imports               []string
	TestImports           []string
	XTestImports          []string
}

// name is the path below the module.
func (p pkg) name() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, "weir"), "/") }

var packages = sync.OnceValues(func() ([]pkg, error) {
	out, err := exec.Command("go", "list", "-json=Dir,ImportPath,Name,GoFiles,Imports,TestImports,XTestImports", "./...").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var list []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
})

func allPackages(t *testing.T) []pkg {
	t.Helper()
	list, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 5 {
		t.Fatalf("go list finds %d packages", len(list))
	}
	return list
}

func TestImports(t *testing.T) {
	for _, p := range allPackages(t) {
		allowed, known := imports[p.name()]
		if !known {
			t.Errorf("package %s has no line in the table of imports", p.name())
			continue
		}
		for _, i := range p.Imports {
			own, ok := strings.CutPrefix(i, "weir/")
			if ok && !slices.Contains(allowed, own) && !slices.Contains(allowed, "*") {
				t.Errorf("%s imports %s, which its place does not allow", p.name(), own)
			}
		}
		for _, i := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if only, ok := confined[i]; ok && only != p.name() {
				t.Errorf("%s imports %s, which only %s may", p.name(), i, only)
			}
			if p.name() == "internal/e2e" && strings.HasPrefix(i, "weir/") {
				t.Errorf("%s imports %s: it tries the binary from outside", p.name(), i)
			}
		}
	}
}

// A source is a parsed file that is no test.
type source struct {
	pkg   pkg
	name  string // below the checkout
	set   *token.FileSet
	file  *ast.File
	lines int
}

func sources(t *testing.T) []source {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	var list []source
	for _, p := range allPackages(t) {
		for _, name := range p.GoFiles {
			set := token.NewFileSet()
			path := filepath.Join(p.Dir, name)
			f, err := parser.ParseFile(set, path, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if ast.IsGenerated(f) {
				continue
			}
			short, _ := filepath.Rel(here, path)
			list = append(list, source{p, short, set, f, set.File(f.Pos()).LineCount()})
		}
	}
	return list
}

func TestPackageDocs(t *testing.T) {
	docs := map[string]int{}
	for _, s := range sources(t) {
		docs[s.pkg.name()] += 0
		if s.file.Doc == nil {
			continue
		}
		docs[s.pkg.name()]++
		want := "Package " + s.pkg.Name + " "
		if s.pkg.Name == "main" {
			want = "Command " + filepath.Base(s.pkg.ImportPath) + " "
		}
		if !strings.HasPrefix(s.file.Doc.Text(), want) {
			t.Errorf("%s: the package's comment begins %.30q, want %q", s.name, s.file.Doc.Text(), want)
		}
	}
	for name, n := range docs {
		if n != 1 {
			t.Errorf("package %s has %d package comments, want one", name, n)
		}
	}
}

// TestExportedDocs: at least 95 of 100 exported names have a comment.
func TestExportedDocs(t *testing.T) {
	var all int
	var bare []string
	for _, s := range sources(t) {
		if s.pkg.Name == "main" {
			continue
		}
		for name, documented := range exported(s.file) {
			all++
			if !documented {
				bare = append(bare, s.name+": "+name)
			}
		}
	}
	if all == 0 || len(bare)*20 > all {
		t.Errorf("%d of %d exported names have no comment:\n%s", len(bare), all, strings.Join(bare, "\n"))
	}
}

// exported gives the exported names of a file's top level, and whether each
// has a comment.
func exported(f *ast.File) map[string]bool {
	names := map[string]bool{}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) {
				names[receiver(d)+"."+d.Name.Name] = d.Doc != nil
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					if spec.Name.IsExported() {
						names[spec.Name.Name] = d.Doc != nil || spec.Doc != nil
					}
				case *ast.ValueSpec:
					for _, n := range spec.Names {
						if n.IsExported() {
							names[n.Name] = d.Doc != nil || spec.Doc != nil || spec.Comment != nil
						}
					}
				}
			}
		}
	}
	return names
}

func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// TestLengths holds the budgets of lines.
func TestLengths(t *testing.T) {
	var files, functions []int
	for _, s := range sources(t) {
		files = append(files, s.lines)
		if s.lines > 600 {
			t.Errorf("%s has %d lines, more than 600: two ideas", s.name, s.lines)
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line + 1
			functions = append(functions, n)
			if n > 120 {
				t.Errorf("%s: %s has %d lines, more than 120", s.name, f.Name.Name, n)
			}
		}
	}
	if len(functions) == 0 {
		t.Fatal("no functions found")
	}
	slices.Sort(files)
	slices.Sort(functions)
	for _, b := range []struct {
		what        string
		got, budget int
	}{
		{"median of functions", functions[len(functions)/2], 12},
		{"90th percentile of functions", functions[len(functions)*9/10], 45},
		{"median of files", files[len(files)/2], 200},
		{"90th percentile of files", files[len(files)*9/10], 500},
	} {
		if b.got > b.budget {
			t.Errorf("%s: %d lines, the budget is %d", b.what, b.got, b.budget)
		}
	}
}

// TestState: no init functions, and no variables of a package that change.
func TestState(t *testing.T) {
	held := map[string]map[string]bool{} // by package: its variables
	list := sources(t)
	for _, s := range list {
		if held[s.pkg.name()] == nil {
			held[s.pkg.name()] = map[string]bool{}
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					t.Errorf("%s has an init function", s.name)
				}
			case *ast.GenDecl:
				if d.Tok == token.VAR {
					variables(t, s, d, held[s.pkg.name()])
				}
			}
		}
	}
	for _, s := range list {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				assignments(t, s, f, held[s.pkg.name()])
			}
		}
	}
}

// assignments reports those of a function to variables of its package.
func assignments(t *testing.T, s source, f *ast.FuncDecl, names map[string]bool) {
	t.Helper()
	local := locals(f)
	check := func(e ast.Expr) {
		if x := base(e); x != nil && names[x.Name] && !local[x.Name] {
			t.Errorf("%s: assignment to %s, a variable of the package: state", s.set.Position(x.Pos()), x.Name)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, e := range n.Lhs {
					check(e)
				}
			}
		case *ast.IncDecStmt:
			check(n.X)
		}
		return true
	})
}

// locals are the names that a function declares anywhere.
func locals(f *ast.FuncDecl) map[string]bool {
	names := map[string]bool{}
	note := func(e ast.Expr) {
		if x, ok := e.(*ast.Ident); ok {
			names[x.Name] = true
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, x := range n.Names {
				note(x)
			}
		case *ast.ValueSpec:
			for _, x := range n.Names {
				note(x)
			}
		case *ast.RangeStmt:
			note(n.Key)
			note(n.Value)
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, e := range n.Lhs {
					note(e)
				}
			}
		}
		return true
	})
	return names
}

// base is the variable that an assignable expression begins with.
func base(e ast.Expr) *ast.Ident {
	switch x := e.(type) {
	case *ast.Ident:
		return x
	case *ast.IndexExpr:
		return base(x.X)
	case *ast.SelectorExpr:
		return base(x.X)
	case *ast.StarExpr:
		return base(x.X)
	case *ast.ParenExpr:
		return base(x.X)
	}
	return nil
}

// variables notes the names of a declaration; each must have its value there,
// or be filled by an embedded file.
func variables(t *testing.T, s source, d *ast.GenDecl, names map[string]bool) {
	t.Helper()
	for _, spec := range d.Specs {
		v := spec.(*ast.ValueSpec)
		embedded := strings.Contains(d.Doc.Text()+v.Doc.Text(), "go:embed") || hasDirective(d.Doc) || hasDirective(v.Doc)
		for _, n := range v.Names {
			if n.Name == "_" {
				continue
			}
			names[n.Name] = true
			if len(v.Values) == 0 && !embedded && !isTable(v.Type) {
				t.Errorf("%s: variable %s of the package has no value: state", s.name, n.Name)
			}
		}
	}
}

func hasDirective(g *ast.CommentGroup) bool {
	if g == nil {
		return false
	}
	return slices.ContainsFunc(g.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed") })
}

// isTable: an array without a value may be all zeros.
func isTable(e ast.Expr) bool {
	a, ok := e.(*ast.ArrayType)
	return ok && a.Len != nil
}

// TestDesigns: a hard package says why it is as it is.
func TestDesigns(t *testing.T) {
	for _, p := range []string{"forward", "policies", "streams", "arrays", "internal/httpapi"} {
		if b, err := os.ReadFile(filepath.Join(p, "DESIGN.md")); err != nil || len(b) < 1000 {
			t.Errorf("%s/DESIGN.md has %d bytes, %v", p, len(b), err)
		}
	}
}

var badName = regexp.MustCompile(`(Manager|Helper|Helpers|Util|Utils|Impl|Base)$|^I[A-Z][a-z]`)

// stutters are names that begin as their package does, and why.
var stutters = map[string]string{
	"arrays.ArrayInfo": "a group has an Info, too",
}

// TestNames: no names that say nothing, and no stutter.
func TestNames(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE {
				continue
			}
			for _, spec := range g.Specs {
				name := spec.(*ast.TypeSpec).Name.Name
				if badName.MatchString(name) || stutter(s.pkg.Name, name) && stutters[s.pkg.Name+"."+name] == "" {
					t.Errorf("%s: a type is called %s", s.name, name)
				}
			}
		}
	}
}

// stutter: arrays.ArrayInfo, and not conf.Config.
func stutter(pkg, name string) bool {
	word := strings.TrimSuffix(pkg, "s")
	rest, ok := strings.CutPrefix(strings.ToLower(name), word)
	return ok && rest != "" && ast.IsExported(name) && ast.IsExported(name[len(word):])
}

// files gives all files of the checkout that are kept in version control.
func files(t *testing.T) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		switch {
		case base == ".git" && !d.IsDir(): // of a second work tree
		case d.IsDir() && (base == ".git" || base == "weir-data" || base == "node_modules"):
			return fs.SkipDir
		case d.Type().IsRegular() && path != "weir" && path != "house_test.go":
			list = append(list, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// forbidden are words that no file has; keys are what is wrong with them.
var forbidden = map[string]*regexp.Regexp{
	"a path of one machine":        regexp.MustCompile(`/(work|root|home)/[a-z]`),
	"an address of a package host": regexp.MustCompile(`proxy\.golang\.org|registry\.npmjs|pypi\.org|deb\.debian\.org`),
	"something left to do":         regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`),
	"a conflict left by a merge":   regexp.MustCompile(`(?m)^(<{7}|={7}|>{7}|\|{7})( |$)`),
	"panic instead of code":        regexp.MustCompile(`panic\("(unwritten|not implemented)`),
}

func TestWords(t *testing.T) {
	for _, path := range files(t) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(path, "testdata"+string(filepath.Separator)) || bytes.IndexByte(b[:min(len(b), 8000)], 0) >= 0 {
			continue
		}
		for what, re := range forbidden {
			if at := re.FindIndex(b); at != nil {
				t.Errorf("%s:%d: %s: %s", path, 1+bytes.Count(b[:at[0]], []byte("\n")), what, b[at[0]:at[1]])
			}
		}
	}
}

var (
	link    = regexp.MustCompile(`\[[^\]\n]*\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	notSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinks: links of the documents lead somewhere.
func TestLinks(t *testing.T) {
	for _, path := range files(t) {
		if filepath.Ext(path) != ".md" {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllSubmatch(b, -1) {
			target := string(m[1])
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(target, "#")
			full := path
			if file != "" {
				full = filepath.Join(filepath.Dir(path), file)
			}
			if !leads(full, anchor) {
				t.Errorf("%s: the link %s leads nowhere", path, target)
			}
		}
	}
}

func leads(file, anchor string) bool {
	b, err := os.ReadFile(file)
	if info, e := os.Stat(file); e == nil && info.IsDir() {
		return anchor == ""
	}
	if err != nil || anchor == "" {
		return err == nil
	}
	for _, h := range heading.FindAllSubmatch(b, -1) {
		if strings.ReplaceAll(strings.ToLower(notSlug.ReplaceAllString(string(h[1]), "")), " ", "-") == anchor {
			return true
		}
	}
	return false
}

// TestNamedTests: a test that docs/wendelin.md names is there.
func TestNamedTests(t *testing.T) {
	b, err := os.ReadFile("docs/wendelin.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, path := range files(t) {
		if strings.HasSuffix(path, "_test.go") {
			one, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, one...)
		}
	}
	named := regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]*)`").FindAllSubmatch(b, -1)
	for _, m := range named {
		if !bytes.Contains(all, []byte("func "+string(m[1])+"(t *testing.T)")) {
			t.Errorf("docs/wendelin.md names %s, which there is not", m[1])
		}
	}
	if len(named) < 30 {
		t.Errorf("docs/wendelin.md names %d tests", len(named))
	}
}

// TestModules: docs/modules.md has a line for each module that go.mod asks
// for itself, with its licence and the reason for it.
func TestModules(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{if not (or .Main .Indirect)}}{{.Path}}{{end}}", "all").Output()
	if err != nil {
		t.Fatal(err)
	}
	asked := strings.Fields(string(out))
	b, err := os.ReadFile("docs/modules.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\| ([^|]+) \\| ([^|]+) \\|$").FindAllStringSubmatch(string(b), -1) {
		listed[m[1]] = true
		for _, p := range allPackages(t) {
			uses := slices.ContainsFunc(p.Imports, func(i string) bool { return i == m[1] || strings.HasPrefix(i, m[1]+"/") })
			if uses && !strings.Contains(m[3], "`"+p.name()+"`") {
				t.Errorf("docs/modules.md does not say that %s uses %s", p.name(), m[1])
			}
		}
		for _, column := range m[2:] {
			if strings.TrimSpace(column) == "" {
				t.Errorf("docs/modules.md: an empty column for %s", m[1])
			}
		}
	}
	for _, path := range asked {
		if !listed[path] {
			t.Errorf("docs/modules.md has no line for %s", path)
		}
		delete(listed, path)
	}
	for path := range listed {
		t.Errorf("docs/modules.md lists %s, which go.mod does not ask for", path)
	}
	if len(asked) > 17 {
		t.Errorf("%d modules, the budget is 12 at run time and 5 for tests", len(asked))
	}
}

// TestReadme: the commands of README.md exist.
func TestReadme(t *testing.T) {
	f, err := os.Open("README.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	program := filepath.Join(t.TempDir(), "weir")
	if out, err := exec.Command("go", "build", "-o", program, "./cmd/weir").CombinedOutput(); err != nil {
		t.Fatalf("building weir: %v\n%s", err, out)
	}
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var block bool
	found := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "```") {
			block = !block
		}
		m := regexp.MustCompile(`^\$? ?(make|go run \./cmd/weir|(?:\./)?weir) ([a-z]+)`).FindStringSubmatch(strings.TrimSpace(line))
		if !block || m == nil {
			continue
		}
		found++
		if m[1] == "make" {
			if !regexp.MustCompile(`(?m)^` + m[2] + `:`).Match(makefile) {
				t.Errorf("README.md: make has no target %s", m[2])
			}
		} else if out, err := exec.Command(program, m[2], "--help").CombinedOutput(); err != nil || !bytes.Contains(out, []byte(m[2])) {
			t.Errorf("README.md: weir %s --help: %v\n%s", m[2], err, out)
		}
	}
	if found < 2 {
		t.Errorf("README.md has %d commands of weir and make in its blocks", found)
	}
}
