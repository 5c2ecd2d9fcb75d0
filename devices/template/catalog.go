package template

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"offsite/devices"
)

//go:embed catalog/*.yaml
var shipped embed.FS

// mostFiles bounds the templates in the user's directory.
const mostFiles = 1000

// Config says where the user's own templates are.
type Config struct {
	Dir string `yaml:"dir"` // of *.yaml files; empty means none
}

// Catalog is every template, by id. It is immutable.
type Catalog struct {
	connections map[string]connection
	list        []*Template
	faults      devices.Problems
}

// Open reads the shipped templates and those of the directory, which replace
// shipped ones of the same id. Faults of the directory and its files are told by
// [Catalog.Faults] and leave the others usable. An error is of the program's own.
func Open(cfg Config) (*Catalog, error) {
	byID := map[string]*Template{}
	sub, err := fs.Sub(shipped, "catalog")
	if err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	c := &Catalog{}
	if c.connections, err = connections(); err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	if err := c.read(sub, false, byID); err != nil || len(c.faults) > 0 {
		return nil, fmt.Errorf("shipped templates: %w", errors.Join(err, c.faults.Err()))
	}
	if cfg.Dir != "" {
		c.readOwn(cfg.Dir, byID)
	}
	for _, t := range byID {
		c.list = append(c.list, t)
	}
	slices.SortFunc(c.list, func(a, b *Template) int { return strings.Compare(a.ID, b.ID) })
	return c, nil
}

// readOwn reads the user's directory.
func (c *Catalog) readOwn(dir string, byID map[string]*Template) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		c.faults.Add(unreadable(err))
		return
	}
	defer func() { _ = root.Close() }()
	if err := c.read(root.FS(), true, byID); err != nil {
		c.faults.Add(devices.AllProblems(err)[0])
	}
}

func unreadable(err error) *devices.Problem {
	return &devices.Problem{Code: "directory_unreadable", Field: "templates.dir", ZH: "模板目录无法读取，请核对路径和权限", EN: "the directory of templates cannot be read; check path and rights", Cause: err}
}

func (c *Catalog) read(files fs.FS, own bool, byID map[string]*Template) error {
	names, err := fs.Glob(files, "*.y*ml")
	if err != nil {
		return unreadable(err)
	}
	if len(names) > mostFiles {
		return devices.Invalid("templates.dir", "too_many", fmt.Sprintf("模板目录中最多 %d 个文件", mostFiles), fmt.Sprintf("a directory holds at most %d templates", mostFiles))
	}
	from := map[string]string{}
	for _, name := range names {
		t, err := c.readFile(files, name)
		if err == nil && from[t.ID] != "" {
			err = devices.Invalid("id", "id_twice", "文件 "+from[t.ID]+" 已用此编号", "file "+from[t.ID]+" has this id already")
		}
		if err != nil {
			c.tell(name, err)
			continue
		}
		from[t.ID] = name
		t.Own = own
		byID[t.ID] = t
	}
	return nil
}

func (c *Catalog) readFile(files fs.FS, name string) (*Template, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, &devices.Problem{Code: "file_unreadable", ZH: "文件无法读取", EN: "the file cannot be read", Cause: err}
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, longestFile+1))
	if err != nil {
		return nil, &devices.Problem{Code: "file_unreadable", ZH: "文件无法读取", EN: "the file cannot be read", Cause: err}
	}
	return parse(data, c.connections)
}

func (c *Catalog) tell(name string, err error) {
	for _, p := range devices.AllProblems(err) {
		named := *p
		named.ZH = fmt.Sprintf("模板 %s：%s", path.Base(name), p.ZH)
		named.EN = fmt.Sprintf("template %s: %s", path.Base(name), p.EN)
		c.faults.Add(&named)
	}
}

// List gives every template by id. The slice must not be changed.
func (c *Catalog) List() []*Template { return c.list }

// Find gives the template of an id, nil when there is none.
func (c *Catalog) Find(id string) *Template {
	i, ok := slices.BinarySearchFunc(c.list, id, func(t *Template, id string) int { return strings.Compare(t.ID, id) })
	if !ok {
		return nil
	}
	return c.list[i]
}

// Faults tells what is wrong with the user's directory and the templates in it.
func (c *Catalog) Faults() devices.Problems { return c.faults }
