package accounts_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"offsite/devices"
	"offsite/gateway/accounts"
)

func TestSessionEndsByIdlenessSignOutAndAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		h := begin(t, accounts.Config{})
		defer h.close(t)
		_, idle, err := h.SignIn(ctx, here, "wang", secret)
		if err != nil {
			t.Fatal(err)
		}
		_, busy, _ := h.SignIn(ctx, here, "wang", secret)
		for range 5 {
			time.Sleep(4 * time.Minute)
			if _, err := h.BySession(ctx, busy); err != nil {
				t.Fatalf("busy session: %v", err)
			}
		}
		if _, err := h.BySession(ctx, idle); !errors.Is(err, accounts.ErrUnknown) {
			t.Errorf("idle session: %v", err)
		}
		who, _ := h.BySession(ctx, busy)
		if err := h.SignOut(ctx, accounts.By{Who: who.ID, From: here}, busy); err != nil {
			t.Fatal(err)
		}
		if _, err := h.BySession(ctx, busy); !errors.Is(err, accounts.ErrUnknown) {
			t.Errorf("after sign-out: %v", err)
		}
		if h.Holds(who) {
			t.Error("a stream would go on after sign-out")
		}
		_, old, _ := h.SignIn(ctx, here, "wang", secret)
		for range 12 * 60 / 10 {
			time.Sleep(10 * time.Minute)
			_, err = h.BySession(ctx, old)
		}
		if !errors.Is(err, accounts.ErrUnknown) {
			t.Errorf("after twelve busy hours: %v", err)
		}
	})
}

func TestSessionSurvivesRestartHashed(t *testing.T) {
	h := begin(t, accounts.Config{})
	_, session, err := h.SignIn(t.Context(), here, "wang", secret)
	if err != nil {
		t.Fatal(err)
	}
	_, token, err := h.IssueToken(t.Context(), accounts.By{Who: "wang"}, accounts.NewToken{Name: "t", Role: accounts.Integrator})
	if err != nil {
		t.Fatal(err)
	}
	h.close(t)
	files, err := filepath.Glob(filepath.Join(h.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for name, canary := range map[string]string{"password": secret, "session": session, "token": token} {
			if strings.Contains(string(content), canary) {
				t.Errorf("the %s stands in %s", name, filepath.Base(f))
			}
		}
	}
	h = open(t, h.dir, accounts.Config{})
	defer h.close(t)
	if who, err := h.BySession(t.Context(), session); err != nil || who.ID != "wang" || !who.Cookie {
		t.Errorf("session after restart: %+v, %v", who, err)
	}
	if who, err := h.ByBearer(token); err != nil || who.Role != accounts.Integrator {
		t.Errorf("token after restart: %+v, %v", who, err)
	}
}

func TestSignOutUnderWayBringsNoSessionBack(t *testing.T) {
	h := begin(t, accounts.Config{})
	defer h.close(t)
	_, session, err := h.SignIn(t.Context(), here, "wang", secret)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				_, _ = h.BySession(context.Background(), session)
			}
		})
	}
	if err := h.SignOut(t.Context(), accounts.By{Who: "wang"}, session); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if _, err := h.BySession(t.Context(), session); !errors.Is(err, accounts.ErrUnknown) {
		t.Errorf("the session came back: %v", err)
	}
}

func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		h := begin(t, accounts.Config{})
		defer h.close(t)
		by := accounts.By{Who: "wang", From: here}
		tok, secret, err := h.IssueToken(ctx, by, accounts.NewToken{Name: "scada", Role: accounts.Integrator, Sites: []string{"gate"}, Expires: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		who, err := h.ByBearer(secret)
		if err != nil || who.ID != "token:"+tok.ID || who.Sees("elsewhere") || !who.Sees("gate") {
			t.Fatalf("%+v, %v", who, err)
		}
		if _, err := h.ChangePassword(ctx, by, who, "x", "y"); code(err) != "people_only" {
			t.Errorf("a token's password: %v", err)
		}
		time.Sleep(time.Hour)
		if _, err := h.ByBearer(secret); !errors.Is(err, accounts.ErrUnknown) || h.Holds(who) {
			t.Errorf("expired: %v", err)
		}
		if _, _, err := h.IssueToken(ctx, by, accounts.NewToken{Name: "x", Role: "root", Expires: time.Now().Add(-1)}); len(devices.AllProblems(err)) != 2 {
			t.Errorf("role and expiry: %v", err)
		}
		tok, secret, _ = h.IssueToken(ctx, by, accounts.NewToken{Name: "x", Role: accounts.Viewer})
		if err := h.Revoke(ctx, by, tok.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := h.ByBearer(secret); !errors.Is(err, accounts.ErrUnknown) {
			t.Errorf("revoked: %v", err)
		}
		if err := h.Revoke(ctx, by, tok.ID); !errors.Is(err, devices.ErrNotFound) {
			t.Errorf("revoked twice: %v", err)
		}
	})
}

func TestTicketsOpenOneThingOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		h := begin(t, accounts.Config{})
		defer h.close(t)
		_, session, _ := h.SignIn(ctx, here, "wang", secret)
		who, _ := h.BySession(ctx, session)
		ticket := func() string {
			s, _, err := h.Ticket(who, "still", "cam-1")
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		s := ticket()
		if got, err := h.ByTicket(s, "still", "cam-1"); err != nil || got.ID != "wang" || !got.Ticket || got.Cookie {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := h.ByTicket(s, "still", "cam-1"); !errors.Is(err, accounts.ErrUnknown) {
			t.Errorf("second use: %v", err)
		}
		if _, err := h.ByTicket(ticket(), "still", "cam-2"); !errors.Is(err, accounts.ErrUnknown) {
			t.Errorf("other target: %v", err)
		}
		if _, err := h.ByTicket(ticket(), "view", "cam-1"); !errors.Is(err, accounts.ErrUnknown) {
			t.Errorf("other purpose: %v", err)
		}
		s = ticket()
		time.Sleep(time.Minute)
		if _, err := h.ByTicket(s, "still", "cam-1"); !errors.Is(err, accounts.ErrUnknown) {
			t.Errorf("after a minute: %v", err)
		}
		s = ticket()
		_ = h.SignOut(ctx, accounts.By{Who: "wang"}, session)
		if _, err := h.ByTicket(s, "still", "cam-1"); !errors.Is(err, accounts.ErrUnknown) {
			t.Errorf("after sign-out: %v", err)
		}
	})
}

func TestLinkSignsInOnce(t *testing.T) {
	ctx := t.Context()
	h := begin(t, accounts.Config{})
	defer h.close(t)
	link, err := h.Link("wang", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.ByTicket(link, "sign-in", ""); err == nil {
		t.Error("a link is no ticket")
	}
	link, _ = h.Link("wang", time.Hour)
	_, session, err := h.SignInByLink(ctx, here, link)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.BySession(ctx, session); err != nil {
		t.Error(err)
	}
	if _, _, err := h.SignInByLink(ctx, here, link); code(err) != "bad_link" {
		t.Errorf("second use: %v", err)
	}
	s, _, _ := h.Ticket(accounts.Identity{Person: "wang"}, "still", "cam-1")
	if _, _, err := h.SignInByLink(ctx, here, s); code(err) != "bad_link" {
		t.Errorf("a ticket signed in: %v", err)
	}
}
