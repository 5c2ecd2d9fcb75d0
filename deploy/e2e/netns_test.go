package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// natWorld is three network namespaces: a site behind a router that masks its
// addresses, and the world outside. The site can dial out, and cannot be dialled.
//
//	site 10.77.1.2 ── 10.77.1.1 router 192.0.2.1 ── 192.0.2.2 world
type natWorld struct {
	site, router, world string // names of the namespaces
}

// Addresses of a natWorld.
const (
	natSite    = "10.77.1.2"
	natOutside = "192.0.2.1" // what the world sees of the site
	natWorldIP = "192.0.2.2"
)

// newNATWorld makes the namespaces and takes them down when the test has ended.
// It skips the test where that is not allowed.
func newNATWorld(t *testing.T) natWorld {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	modbusTools(t, "ip", "nft")
	prefix := fmt.Sprintf("offsite-%d-", os.Getpid())
	w := natWorld{site: prefix + "site", router: prefix + "router", world: prefix + "world"}
	if out, err := exec.CommandContext(t.Context(), "ip", "netns", "add", w.site).CombinedOutput(); err != nil {
		t.Skipf("network namespaces are not allowed here: %s", out)
	}
	t.Cleanup(func() {
		for _, name := range []string{w.site, w.router, w.world} {
			if out, err := exec.Command("ip", "netns", "del", name).CombinedOutput(); err != nil {
				t.Logf("netns del %s: %s", name, out)
			}
		}
	})
	must(t, "ip", "netns", "add", w.router)
	must(t, "ip", "netns", "add", w.world)
	w.link(t, w.site, natSite, w.router, "10.77.1.1", "inside")
	w.link(t, w.world, natWorldIP, w.router, natOutside, "outside")
	must(t, "ip", "-n", w.site, "route", "add", "default", "via", "10.77.1.1")
	must(t, "ip", "netns", "exec", w.router, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
	rules := exec.CommandContext(t.Context(), "ip", "netns", "exec", w.router, "nft", "-f", "-")
	rules.Stdin = strings.NewReader(`
table ip offsite {
	chain leave {
		type nat hook postrouting priority 100; policy accept;
		oifname "outside" masquerade
	}
	chain pass {
		type filter hook forward priority 0; policy drop;
		ct state established,related accept
		iifname "inside" oifname "outside" accept
	}
}
`)
	switch out, err := rules.CombinedOutput(); {
	case err == nil:
	case bytes.Contains(out, []byte("syntax error")):
		t.Fatalf("nft: %s", out)
	default:
		t.Skipf("this kernel has no address translation: %s", out)
	}
	return w
}

// link joins a namespace's eth0 to an interface of the router.
func (w natWorld) link(t *testing.T, ns, addr, router, routerAddr, name string) {
	t.Helper()
	must(t, "ip", "-n", ns, "link", "add", "eth0", "type", "veth", "peer", "name", name, "netns", router)
	must(t, "ip", "-n", ns, "addr", "add", addr+"/24", "dev", "eth0")
	must(t, "ip", "-n", ns, "link", "set", "eth0", "up")
	must(t, "ip", "-n", ns, "link", "set", "lo", "up")
	must(t, "ip", "-n", router, "addr", "add", routerAddr+"/24", "dev", name)
	must(t, "ip", "-n", router, "link", "set", name, "up")
}

func must(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// inNamespace runs fn with a thread of the named namespace. What fn opens stays
// there; the thread is not used for anything else afterwards.
func inNamespace(name string, fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- func() error {
			ns, err := os.Open("/run/netns/" + name)
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter namespace %s: %w", name, err)
			}
			return fn()
		}()
	}()
	return <-done
}

// listenIn listens in a namespace.
func listenIn(ctx context.Context, name, addr string) (ln net.Listener, err error) {
	err = inNamespace(name, func() (err error) {
		ln, err = (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		return err
	})
	return ln, err
}

// dialIn says whether addr can be dialled from a namespace.
func dialIn(ctx context.Context, name, addr string) error {
	return inNamespace(name, func() error {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return c.Close()
	})
}
