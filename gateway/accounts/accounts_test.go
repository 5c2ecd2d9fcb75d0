package accounts_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/edge/audit"
	"offsite/gateway/accounts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	here   = "192.0.2.7"
	secret = "Correct-Horse-7"
	other  = "Battery-Staple-8"
)

// house is a set of accounts on a real database.
type house struct {
	*accounts.Accounts
	db  *state.DB
	log *audit.Log
	dir string
}

func open(t *testing.T, dir string, cfg accounts.Config) *house {
	t.Helper()
	db, err := state.Open(t.Context(), state.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	a, err := accounts.Open(t.Context(), db, log, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &house{a, db, log, dir}
}

func (h *house) close(t *testing.T) {
	t.Helper()
	if err := h.db.Close(); err != nil {
		t.Error(err)
	}
}

// begin opens accounts with one administrator, "wang".
func begin(t *testing.T, cfg accounts.Config) *house {
	t.Helper()
	h := open(t, t.TempDir(), cfg)
	if _, err := h.SetUp(t.Context(), here, h.SetupToken(), accounts.NewPerson{ID: "wang", Name: "王工", Password: secret}); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestARestoredGatewayOffersNoSetUp takes the database away from one that was backed up
// while nobody existed, and after the first person was made.
func TestARestoredGatewayOffersNoSetUp(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, accounts.Config{})
	if err := h.db.Backup(t.Context()); err != nil { // as the first start does
		t.Fatal(err)
	}
	if _, err := h.SetUp(t.Context(), here, h.SetupToken(), accounts.NewPerson{ID: "wang", Name: "王工", Password: secret}); err != nil {
		t.Fatal(err)
	}
	h.close(t)
	if err := os.Remove(filepath.Join(dir, "offsite.db")); err != nil {
		t.Fatal(err)
	}
	h = open(t, dir, accounts.Config{})
	defer h.close(t)
	if h.db.Restored() == nil || h.SetupToken() != "" || h.SetupNeeded() {
		t.Errorf("restored %+v, set-up token %q", h.db.Restored(), h.SetupToken())
	}
	if _, err := h.Person("wang"); err != nil {
		t.Error(err)
	}
}

// code is the code of the first problem in err.
func code(err error) string {
	if err == nil {
		return ""
	}
	return devices.AllProblems(err)[0].Code
}

func (h *house) acts(t *testing.T) []string {
	t.Helper()
	rows, err := h.log.List(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var acts []string
	for i := len(rows) - 1; i >= 0; i-- {
		if r := rows[i]; r.Act != "audit.begin" {
			acts = append(acts, r.Who+" "+r.Act+" "+r.What+" "+r.Result)
		}
	}
	return acts
}

func TestSetupTokenMakesOnePerson(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, accounts.Config{})
	first := h.SetupToken()
	h.close(t)
	h = open(t, dir, accounts.Config{})
	defer h.close(t)
	if h.SetupToken() == "" || h.SetupToken() == first {
		t.Fatal("a start without people must make a new token")
	}
	n := accounts.NewPerson{ID: "wang", Name: "王工", Password: secret}
	_, err := h.SetUp(t.Context(), here, first, n)
	if code(err) != "bad_setup_token" {
		t.Errorf("old token: %v", err)
	}
	p, err := h.SetUp(t.Context(), here, h.SetupToken(), n)
	if err != nil {
		t.Fatal(err)
	}
	if p.Role != accounts.Administrator || p.MustChange || len(p.Sites) != 0 {
		t.Errorf("first person is %+v", p)
	}
	n.ID = "li"
	if _, err := h.SetUp(t.Context(), here, h.SetupToken(), n); code(err) != "setup_done" {
		t.Errorf("second use: %v", err)
	}
	if h.SetupNeeded() {
		t.Error("set-up is still needed")
	}
}

func TestPasswordRule(t *testing.T) {
	tests := []struct {
		name, password, want string
	}{
		{"three classes", "Abcdefghijk1", ""},
		{"Chinese counts as other", "密码密码密码密码abcA", ""},
		{"short", "Abcdefghij1", "password_length"},
		{"two classes", "abcdefghijk1", "password_simple"},
		{"has the name", "Wang-2026-abc", "password_has_name"},
		{"long", strings.Repeat("aA1-", 100), "password_length"},
	}
	h := open(t, t.TempDir(), accounts.Config{})
	defer h.close(t)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := "wang"
			if tt.want == "" {
				id = []string{"p0", "p1"}[i]
			}
			_, err := h.Create(t.Context(), accounts.By{Who: "x"}, accounts.NewPerson{ID: id, Name: "n", Role: accounts.Viewer, Password: tt.password})
			if code(err) != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestFaultsOfANewPersonAreToldAtOnce(t *testing.T) {
	h := open(t, t.TempDir(), accounts.Config{})
	defer h.close(t)
	_, err := h.Create(t.Context(), accounts.By{Who: "x"}, accounts.NewPerson{ID: "No!", Role: "integrator", Sites: []string{"ok", "Bad"}, Password: "x"})
	var fields []string
	for _, p := range devices.AllProblems(err) {
		fields = append(fields, p.Field)
	}
	if diff := cmp.Diff([]string{"id", "name", "role", "sites[1]", "password"}, fields); diff != "" {
		t.Error(diff)
	}
}

func TestLockAfterFiveWrongPasswords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := begin(t, accounts.Config{})
		for i := range 5 {
			if _, _, err := h.SignIn(t.Context(), here, "wang", "wrong"); code(err) != "sign_in_failed" {
				t.Fatalf("try %d: %v", i+1, err)
			}
		}
		if _, _, err := h.SignIn(t.Context(), here, "wang", secret); !errors.Is(err, accounts.ErrLocked) {
			t.Fatalf("right password while locked: %v", err)
		}
		if p, err := h.Person("wang"); err != nil || p.Locked.IsZero() {
			t.Errorf("the lock is not shown: %v", err)
		}
		h.close(t)
		again := open(t, h.dir, accounts.Config{})
		defer again.close(t)
		if _, _, err := again.SignIn(t.Context(), "198.51.100.1", "wang", secret); !errors.Is(err, accounts.ErrLocked) {
			t.Fatalf("after a restart, from elsewhere: %v", err)
		}
		if p, _ := again.Person("wang"); p.Locked.IsZero() {
			t.Error("the lock is not shown")
		}
		time.Sleep(15*time.Minute + time.Second)
		if _, _, err := again.SignIn(t.Context(), here, "wang", secret); err != nil {
			t.Fatalf("after the lock: %v", err)
		}
		if _, _, err := again.SignIn(t.Context(), here, "wang", "wrong"); code(err) != "sign_in_failed" {
			t.Errorf("a right password must give the tries back: %v", err)
		}
	})
}

func TestUnknownNamesAreLockedAlike(t *testing.T) {
	h := begin(t, accounts.Config{})
	defer h.close(t)
	var got []string
	for range 6 {
		_, _, err := h.SignIn(t.Context(), here, "nobody\x00"+strings.Repeat("x", 1000), "wrong")
		got = append(got, code(err))
	}
	want := []string{"sign_in_failed", "sign_in_failed", "sign_in_failed", "sign_in_failed", "sign_in_failed", "locked"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestManyGuessesAtOnceWinNoTries(t *testing.T) {
	h := begin(t, accounts.Config{HostTries: 1000})
	defer h.close(t)
	var mu sync.Mutex
	counts := map[string]int{}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			_, _, err := h.SignIn(t.Context(), here, "wang", "wrong")
			mu.Lock()
			counts[code(err)]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if diff := cmp.Diff(map[string]int{"sign_in_failed": 5, "locked": 15}, counts); diff != "" {
		t.Error(diff)
	}
}

func TestOneAddressIsLockedForEverybody(t *testing.T) {
	h := begin(t, accounts.Config{HostTries: 3})
	defer h.close(t)
	for _, id := range []string{"a", "b", "c"} {
		_, _, _ = h.SignIn(t.Context(), here, id, "wrong")
	}
	if _, _, err := h.SignIn(t.Context(), here, "wang", secret); !errors.Is(err, accounts.ErrLocked) {
		t.Errorf("from the locked address: %v", err)
	}
	if _, _, err := h.SignIn(t.Context(), "198.51.100.1", "wang", secret); err != nil {
		t.Errorf("from another: %v", err)
	}
}

func TestChangePassword(t *testing.T) {
	ctx := t.Context()
	h := begin(t, accounts.Config{})
	defer h.close(t)
	by := accounts.By{Who: "wang", From: here}
	if _, err := h.Create(ctx, by, accounts.NewPerson{ID: "li", Name: "李", Role: accounts.Staff, Password: secret}); err != nil {
		t.Fatal(err)
	}
	p, mine, err := h.SignIn(ctx, here, "li", secret)
	if err != nil || !p.MustChange {
		t.Fatalf("%+v, %v", p, err)
	}
	_, elsewhere, _ := h.SignIn(ctx, here, "li", secret)
	who, _ := h.BySession(ctx, mine)
	by = accounts.By{Who: "li", From: here}
	for _, tt := range []struct{ name, old, fresh, want string }{
		{"wrong", "nonsense", other, "wrong_password"},
		{"same", secret, secret, "password_same"},
		{"weak", secret, "short", "password_length"},
		{"good", secret, other, ""},
	} {
		if _, err := h.ChangePassword(ctx, by, who, tt.old, tt.fresh); code(err) != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if now, err := h.BySession(ctx, mine); err != nil || now.MustChange {
		t.Errorf("own session: %+v, %v", now, err)
	}
	if _, err := h.BySession(ctx, elsewhere); !errors.Is(err, accounts.ErrUnknown) {
		t.Errorf("the other session goes on: %v", err)
	}
	if _, _, err := h.SignIn(ctx, here, "li", secret); code(err) != "sign_in_failed" {
		t.Errorf("old password: %v", err)
	}
}

func TestReplaceAndRetire(t *testing.T) {
	ctx := t.Context()
	h := begin(t, accounts.Config{})
	defer h.close(t)
	by := accounts.By{Who: "wang", From: here}
	if _, err := h.Replace(ctx, by, "wang", 1, "王", accounts.Staff, nil); code(err) != "last_administrator" {
		t.Errorf("role of the last administrator: %v", err)
	}
	if _, err := h.Replace(ctx, by, "wang", 1, "王", accounts.Administrator, []string{"a"}); code(err) != "last_administrator" {
		t.Errorf("sites of the last administrator: %v", err)
	}
	if err := h.Retire(ctx, by, "wang"); code(err) != "last_administrator" {
		t.Errorf("last administrator: %v", err)
	}
	if _, err := h.CreateReady(ctx, by, accounts.NewPerson{ID: "li", Name: "李", Role: accounts.Administrator, Password: secret}); err != nil {
		t.Fatal(err)
	}
	_, session, _ := h.SignIn(ctx, here, "li", secret)
	who, _ := h.BySession(ctx, session)
	if _, err := h.Replace(ctx, by, "li", 9, "李", accounts.Viewer, nil); code(err) != "version_changed" {
		t.Errorf("wrong version: %v", err)
	}
	p, err := h.Replace(ctx, by, "li", 1, "李四", accounts.Viewer, []string{"gate"})
	if err != nil || p.Version != 2 || p.Role != accounts.Viewer {
		t.Fatalf("%+v, %v", p, err)
	}
	if _, err := h.BySession(ctx, session); err == nil || h.Holds(who) {
		t.Error("a session outlived the rights it was opened with")
	}
	if err := h.Retire(ctx, by, "li"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.SignIn(ctx, here, "li", secret); code(err) != "sign_in_failed" {
		t.Errorf("retired: %v", err)
	}
	if _, err := h.Create(ctx, by, accounts.NewPerson{ID: "li", Name: "n", Role: accounts.Viewer, Password: secret}); code(err) != "id_used" {
		t.Errorf("the name was given again: %v", err)
	}
}

func TestEveryActIsInTheTrail(t *testing.T) {
	ctx := t.Context()
	h := begin(t, accounts.Config{})
	defer h.close(t)
	by := accounts.By{Who: "wang", From: here}
	_, _, _ = h.SignIn(ctx, here, "wang", "wrong")
	_, session, _ := h.SignIn(ctx, here, "wang", secret)
	_, _ = h.Create(ctx, by, accounts.NewPerson{ID: "li", Name: "李", Role: accounts.Staff, Password: secret})
	_, _ = h.Replace(ctx, by, "li", 1, "李", accounts.Viewer, nil)
	_, _ = h.Reset(ctx, by, "li", other)
	_ = h.Retire(ctx, by, "li")
	tok, _, _ := h.IssueToken(ctx, by, accounts.NewToken{Name: "t", Role: accounts.Viewer})
	_ = h.Revoke(ctx, by, tok.ID)
	_ = h.SignOut(ctx, by, session)
	want := []string{
		"wang setup person/wang ok",
		"wang session.open person/wang sign_in_failed",
		"wang session.open person/wang ok",
		"wang person.create person/li ok",
		"wang person.replace person/li ok",
		"wang person.reset person/li ok",
		"wang person.retire person/li ok",
		"wang token.create token/" + tok.ID + " ok",
		"wang token.retire token/" + tok.ID + " ok",
		"wang session.close person/wang ok",
	}
	if diff := cmp.Diff(want, h.acts(t)); diff != "" {
		t.Error(diff)
	}
	if err := h.log.Verify(ctx); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeAuditedDoesNotHappen(t *testing.T) {
	h := begin(t, accounts.Config{})
	defer h.close(t)
	broken, err := accounts.Open(t.Context(), h.db, noTrail{}, accounts.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := broken.SignIn(t.Context(), here, "wang", secret); !errors.Is(err, errNoTrail) {
		t.Errorf("signed in without a trail: %v", err)
	}
	if _, err := broken.Create(t.Context(), accounts.By{Who: "x"}, accounts.NewPerson{ID: "li", Name: "n", Role: accounts.Viewer, Password: secret}); !errors.Is(err, errNoTrail) {
		t.Errorf("created without a trail: %v", err)
	}
	if _, err := broken.Person("li"); !errors.Is(err, devices.ErrNotFound) {
		t.Errorf("the person is there: %v", err)
	}
}

func TestRunTidiesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := begin(t, accounts.Config{})
		defer h.close(t)
		_, _, _ = h.SignIn(t.Context(), here, "wang", secret)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_ = h.Run(ctx)
		var sessions int
		if err := h.db.Read().QueryRow(`SELECT count(*) FROM sessions`).Scan(&sessions); err != nil || sessions != 0 {
			t.Errorf("%d sessions are left, %v", sessions, err)
		}
	})
}

var errNoTrail = errors.New("no trail")

// noTrail is a trail that cannot be written.
type noTrail struct{}

func (noTrail) Append(context.Context, *sql.Tx, audit.Entry) error { return errNoTrail }

func TestATokenStaysBoundToItsCameras(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, accounts.Config{})
	by := accounts.By{Who: "wang", From: here}
	cameras := []string{"cam-a", "cam-b"}
	_, bound, err := h.IssueToken(t.Context(), by, accounts.NewToken{Name: "nvr", Role: accounts.Integrator, Cameras: cameras})
	if err != nil {
		t.Fatal(err)
	}
	many := make([]string, 257)
	for i := range many {
		many[i] = fmt.Sprintf("cam-%d", i)
	}
	for _, wrong := range [][]string{many, {"Cam A"}} {
		if _, _, err := h.IssueToken(t.Context(), by, accounts.NewToken{Name: "nvr", Role: accounts.Integrator, Cameras: wrong}); err == nil {
			t.Errorf("%d cameras, the first %q, were taken", len(wrong), wrong[0])
		}
	}
	h.close(t)
	h = open(t, dir, accounts.Config{})
	defer h.close(t)
	who, err := h.ByBearer(bound)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(cameras, who.Cameras); diff != "" || !h.Holds(who) {
		t.Errorf("after a start it holds %v: %s", h.Holds(who), diff)
	}
	who.Cameras = []string{"cam-a"}
	if h.Holds(who) {
		t.Error("other rights hold as well")
	}
}
