package accounts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"offsite/devices"
	"offsite/edge/audit"
)

// Role says what a person or token may do; each operation of the API lists its roles.
type Role string

// The roles. Integrator is for tokens alone.
const (
	Administrator Role = "administrator"
	FieldEngineer Role = "field_engineer"
	Staff         Role = "staff"
	Viewer        Role = "viewer"
	Integrator    Role = "integrator"
)

// Person is somebody with a name and a password.
type Person struct {
	ID         string
	Name       string
	Role       Role
	Sites      []string // ids; empty means every site
	MustChange bool     // the password, before anything else
	Version    int64
	Created    time.Time
	Updated    time.Time
	SignedIn   time.Time // last; zero if never
	Retired    time.Time // zero while not
	Locked     time.Time // until; zero while not

	password string
}

// NewPerson is what makes a person.
type NewPerson struct {
	ID       string
	Name     string
	Role     Role
	Sites    []string
	Password string
}

// book is everything that is asked at each request. It never changes once shown.
type book struct {
	people map[string]*Person // also retired ones
	tokens map[string]*Token  // by hash
	locks  map[string]time.Time
}

// refresh reads the book from the database.
func (a *Accounts) refresh(ctx context.Context) error {
	a.reload.Lock()
	defer a.reload.Unlock()
	people, err := readPeople(ctx, a.db.Read())
	if err != nil {
		return err
	}
	tokens, err := readTokens(ctx, a.db.Read())
	if err != nil {
		return err
	}
	locks, err := readLocks(ctx, a.db.Read())
	if err != nil {
		return err
	}
	a.book.Store(&book{people: people, tokens: tokens, locks: locks})
	return nil
}

func (b *book) live(id string) *Person {
	p := b.people[id]
	if p == nil || !p.Retired.IsZero() {
		return nil
	}
	return p
}

func (b *book) shown(p *Person) Person {
	c := *p
	c.password = ""
	c.Sites = slices.Clone(p.Sites)
	if until := b.locks[personSubject(p.ID)]; until.After(time.Now()) {
		c.Locked = until
	}
	return c
}

// People gives everybody who is not retired, by id.
func (a *Accounts) People() []Person {
	b := a.book.Load()
	list := make([]Person, 0, len(b.people))
	for _, p := range b.people {
		if p.Retired.IsZero() {
			list = append(list, b.shown(p))
		}
	}
	slices.SortFunc(list, func(x, y Person) int { return strings.Compare(x.ID, y.ID) })
	return list
}

// Person gives one who is not retired, or ErrNotFound.
func (a *Accounts) Person(id string) (Person, error) {
	b := a.book.Load()
	p := b.live(id)
	if p == nil {
		return Person{}, noPerson(id)
	}
	return b.shown(p), nil
}

// SetUp makes the first person, an administrator of every site, with the
// set-up token, which works once.
func (a *Accounts) SetUp(ctx context.Context, from, token string, n NewPerson) (Person, error) {
	n.Role, n.Sites = Administrator, nil
	if !a.SetupNeeded() {
		return Person{}, setupDone()
	}
	if err := a.admitHost(ctx, from); err != nil {
		return Person{}, err
	}
	hash, err := a.prepare(ctx, n)
	if err != nil {
		return Person{}, err
	}
	e := audit.Entry{Who: n.ID, From: from, Act: "setup", What: "person/" + n.ID, After: digest(n)}
	err = a.change(ctx, e, func(tx *sql.Tx) error {
		var people int
		if err := tx.QueryRowContext(ctx, countPeople).Scan(&people); err != nil {
			return err
		}
		if people > 0 {
			return setupDone()
		}
		if n, err := affected(tx.ExecContext(ctx, takeSetup, hashOf(token))); err != nil || n == 0 {
			return first(err, devices.Invalid("token", "bad_setup_token", "设置令牌不符，请从首次启动的输出中抄录", "this is not the set-up token; copy it from the output of the first start"))
		}
		return a.insert(ctx, tx, n, hash, false)
	})
	if err != nil {
		return Person{}, err
	}
	// A backup from before, put in place of a damaged database, would have the next
	// start tell a set-up token to whoever sees its output.
	if err := a.db.Backup(context.WithoutCancel(ctx)); err != nil {
		a.cfg.Log.WarnContext(ctx, "the first person is in no backup yet", "err", err)
	}
	return a.Person(n.ID)
}

func setupDone() *devices.Problem {
	return &devices.Problem{Kind: devices.ErrConflict, Code: "setup_done", ZH: "首个账户已建立，请直接登录", EN: "the first person exists already; sign in"}
}

// Create makes a person who must change the password at first sign-in.
func (a *Accounts) Create(ctx context.Context, by By, n NewPerson) (Person, error) {
	return a.create(ctx, by, n, true)
}

// CreateReady makes a person whose password is already his own. It is for
// programs that set a gateway up, not for the API.
func (a *Accounts) CreateReady(ctx context.Context, by By, n NewPerson) (Person, error) {
	return a.create(ctx, by, n, false)
}

func (a *Accounts) create(ctx context.Context, by By, n NewPerson, mustChange bool) (Person, error) {
	hash, err := a.prepare(ctx, n)
	if err != nil {
		return Person{}, err
	}
	e := audit.Entry{Who: by.Who, From: by.From, Act: "person.create", What: "person/" + n.ID, After: digest(n)}
	err = a.change(ctx, e, func(tx *sql.Tx) error { return a.insert(ctx, tx, n, hash, mustChange) })
	if err != nil {
		return Person{}, err
	}
	return a.Person(n.ID)
}

// prepare checks a new person and hashes the password.
func (a *Accounts) prepare(ctx context.Context, n NewPerson) (string, error) {
	var ps devices.Problems
	ps.Add(devices.CheckID("id", n.ID))
	ps = append(ps, checkPerson(n.Name, n.Role, n.Sites)...)
	ps.Add(checkPassword("password", n.Password, n.ID))
	if err := ps.Err(); err != nil {
		return "", err
	}
	return a.hash(ctx, n.Password)
}

func (a *Accounts) insert(ctx context.Context, tx *sql.Tx, n NewPerson, hash string, mustChange bool) error {
	now := time.Now().UnixMilli()
	made, err := affected(tx.ExecContext(ctx, insertPerson, n.ID, n.Name, n.Role, asJSON(n.Sites), hash, mustChange, now, now))
	if err != nil {
		return fmt.Errorf("insert person: %w", err)
	}
	if made == 0 {
		return &devices.Problem{Kind: devices.ErrConflict, Code: "id_used", Field: "id", ZH: "该登录名已被使用过，请另选", EN: "this name is or was in use; choose another"}
	}
	return nil
}

// Replace changes name, role and sites. Sessions end when role or sites change.
func (a *Accounts) Replace(ctx context.Context, by By, id string, version int64, name string, role Role, sites []string) (Person, error) {
	ps := checkPerson(name, role, sites)
	if err := ps.Err(); err != nil {
		return Person{}, err
	}
	old, err := a.Person(id)
	if err != nil {
		return Person{}, err
	}
	rights := old.Role != role || !slices.Equal(old.Sites, sites)
	e := audit.Entry{
		Who: by.Who, From: by.From, Act: "person.replace", What: "person/" + id,
		Before: digest(NewPerson{ID: id, Name: old.Name, Role: old.Role, Sites: old.Sites}),
		After:  digest(NewPerson{ID: id, Name: name, Role: role, Sites: sites}),
	}
	err = a.change(ctx, e, func(tx *sql.Tx) error {
		if old.Role == Administrator && (role != Administrator || len(sites) > 0) {
			if err := keepOneAdministrator(ctx, tx, id); err != nil {
				return err
			}
		}
		n, err := affected(tx.ExecContext(ctx, updatePerson, name, role, asJSON(sites), time.Now().UnixMilli(), id, version))
		if err != nil {
			return fmt.Errorf("replace person: %w", err)
		}
		if n == 0 {
			return &devices.Problem{Kind: devices.ErrConflict, Code: "version_changed", Field: "version", ZH: "该账户已被他人修改，请重新读取后再改", EN: "somebody has changed this person meanwhile; read it again"}
		}
		if rights {
			_, err = tx.ExecContext(ctx, deleteSessionsOf, id, "")
		}
		return err
	})
	if err != nil {
		return Person{}, err
	}
	if rights {
		a.store.forgetOf(id, "")
	}
	return a.Person(id)
}

// Retire ends a person's access at once. The id is never used again.
func (a *Accounts) Retire(ctx context.Context, by By, id string) error {
	if _, err := a.Person(id); err != nil {
		return err
	}
	err := a.change(ctx, audit.Entry{Who: by.Who, From: by.From, Act: "person.retire", What: "person/" + id}, func(tx *sql.Tx) error {
		if err := keepOneAdministrator(ctx, tx, id); err != nil {
			return err
		}
		n, err := affected(tx.ExecContext(ctx, retirePerson, time.Now().UnixMilli(), id))
		if err != nil || n == 0 {
			return first(err, noPerson(id))
		}
		_, sessions := tx.ExecContext(ctx, deleteSessionsOf, id, "")
		_, preferences := tx.ExecContext(ctx, deletePreferencesOf, id)
		return errors.Join(sessions, preferences)
	})
	if err == nil {
		a.store.forgetOf(id, "")
	}
	return err
}

// keepOneAdministrator refuses to take the rights of the last administrator of every site.
func keepOneAdministrator(ctx context.Context, tx *sql.Tx, id string) error {
	var others int
	if err := tx.QueryRowContext(ctx, otherAdministrators, id).Scan(&others); err != nil {
		return err
	}
	if others == 0 {
		return &devices.Problem{Kind: devices.ErrConflict, Code: "last_administrator", Field: "role", ZH: "这是最后一名全局管理员，请先指定另一名", EN: "this is the last administrator of every site; name another first"}
	}
	return nil
}

func checkPerson(name string, role Role, sites []string) devices.Problems {
	var ps devices.Problems
	if name == "" || len([]rune(name)) > 128 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		ps.Add(devices.Invalid("name", "bad_name", "请填写姓名，最长 128 个字，不含控制字符", "give a name of at most 128 characters without control characters"))
	}
	switch role {
	case Administrator, FieldEngineer, Staff, Viewer:
	default:
		ps.Add(devices.Invalid("role", "not_one_of", "角色须为 administrator、field_engineer、staff 或 viewer", "choose administrator, field_engineer, staff or viewer"))
	}
	return append(ps, checkSites(sites)...)
}

func checkSites(sites []string) devices.Problems {
	var ps devices.Problems
	for i, s := range sites {
		ps.Add(devices.CheckID(fmt.Sprintf("sites[%d]", i), s))
	}
	return ps
}

func noPerson(id string) *devices.Problem {
	return &devices.Problem{Kind: devices.ErrNotFound, Code: "not_found", ZH: "没有账户 " + id, EN: "there is no person " + id}
}

// digest is the hash of a person without the password, for the trail.
func digest(n NewPerson) string {
	n.Password = ""
	return audit.Hash(n)
}

func affected(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// first gives err, or what stands in for it.
func first(err error, instead *devices.Problem) error {
	if err != nil {
		return err
	}
	return instead
}
