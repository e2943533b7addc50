//go:build unix

package novakms

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"nova-kms/clients/go/internal/nodetest"
)

func write(t testing.TB, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestSeedFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.seed")
	made, err := CreateIdentityFile(path)
	if err != nil {
		t.Fatal(err)
	}
	read, err := IdentityFromFile(path)
	if err != nil || read.Wallet() != made.Wallet() {
		t.Error(read, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || info.Size() != 65 {
		t.Error(info, err)
	}
	if _, err := CreateIdentityFile(path); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if _, err := IdentityFromFile(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	digits := strings.Repeat("61", 32)
	write(t, path, strings.ToUpper(digits)+"\n", 0o400)
	if read, err = IdentityFromFile(path); err != nil || read.Wallet() != testIdentity(t).Wallet() {
		t.Error(read, err)
	}
	for _, text := range []string{"", "\n", digits, digits + "\n\n", digits + "00\n", digits[2:] + "\n", "0x" + digits[2:] + "\n", digits[1:] + "x\n", " " + digits[1:] + "\n"} {
		write(t, path, text, 0o600)
		_, err := IdentityFromFile(path)
		if e := expect(t, err, ErrInvalid); strings.Contains(e.Error(), "6161") {
			t.Error(e)
		}
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o601} {
		write(t, path, digits+"\n", mode)
		_, err := IdentityFromFile(path)
		expect(t, err, ErrInvalid)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, odd := range []string{pipe, t.TempDir()} {
		_, err := IdentityFromFile(odd)
		expect(t, err, ErrInvalid)
	}
}

func TestSeedsAndKeys(t *testing.T) {
	for _, length := range []int{0, 31, 33, 64} {
		_, err := IdentityFromSeed(make([]byte, length))
		expect(t, err, ErrInvalid)
	}
	ones := func(length int) []byte { return []byte(strings.Repeat("\x01", length)) }
	if _, err := NewIdentity(ones(32), ones(48)); err != nil {
		t.Error(err)
	}
	for _, c := range [][2][]byte{{ones(31), ones(48)}, {ones(33), ones(48)}, {make([]byte, 32), ones(48)}, {ones(32), ones(47)}, {ones(32), make([]byte, 48)}} {
		_, err := NewIdentity(c[0], c[1])
		expect(t, err, ErrInvalid)
	}
	seed := ones(32)
	identity, err := IdentityFromSeed(seed)
	if err != nil || string(seed) != string(ones(32)) {
		t.Fatal(seed, err)
	}
	wallet := identity.Wallet()
	clear(seed)
	if identity.Wallet() != wallet {
		t.Error("it keeps the caller's slice")
	}
}

var known = "0x" + strings.Repeat("12", 20)

func TestKnownNodes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "known")
	k, err := OpenKnownNodes(path)
	if err != nil || k.Has(known) {
		t.Fatal(k, err)
	}
	other := "0x" + strings.Repeat("34", 20)
	for _, wallet := range []string{known, known, other} {
		if err := k.Add(wallet); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != known+"\n"+other+"\n" {
		t.Errorf("%q %v", text, err)
	}
	for name, mode := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Error(info.Mode(), err)
		}
	}
	// Lines without an end, in upper case, and empty ones.
	write(t, path, "\n0x"+strings.Repeat("AB", 20), 0o644)
	if k, err = OpenKnownNodes(path); err != nil || !k.Has("0x"+strings.Repeat("ab", 20)) {
		t.Fatal(k, err)
	}
	if err := k.Add(known); err != nil {
		t.Fatal(err)
	}
	if k, err = OpenKnownNodes(path); err != nil || !k.Has(known) {
		t.Error(k, err)
	}
}

func TestKnownNodesThatAreNotBelieved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "known")
	for _, text := range []string{"x\n", known[2:] + "\n", known + "0\n", known + " \n", known + "\r\n", "\x00\n"} {
		write(t, path, known+"\n"+text, 0o600)
		_, err := OpenKnownNodes(path)
		if e := expect(t, err, ErrInvalid); !strings.Contains(e.Error(), "line 2") {
			t.Error(e)
		}
	}
	for mode, fits := range map[fs.FileMode]bool{0o644: true, 0o620: false, 0o602: false} {
		write(t, path, known+"\n", mode)
		if _, err := OpenKnownNodes(path); (err == nil) != fits {
			t.Errorf("%o: %v", mode, err)
		}
	}
	line := len(known) + 1
	for size, fits := range map[int]bool{maxKnownNodes / line * line: true, (maxKnownNodes/line + 1) * line: false} {
		write(t, path, strings.Repeat(known+"\n", size/line), 0o600)
		if _, err := OpenKnownNodes(path); (err == nil) != fits {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for mode, fits := range map[fs.FileMode]bool{0o755: true, 0o777: false, 0o770: false, 0o777 | fs.ModeSticky: true} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenKnownNodes(path); (err == nil) != fits {
			t.Errorf("%v: %v", mode, err)
		}
	}
}

func TestDefaultKnownNodesPath(t *testing.T) {
	t.Setenv("HOME", "/home/me")
	for state, wanted := range map[string]string{"/s": "/s/nova-kms/known-nodes", "": "/home/me/.local/state/nova-kms/known-nodes", "rel": "/home/me/.local/state/nova-kms/known-nodes"} {
		t.Setenv("XDG_STATE_HOME", state)
		if path, err := DefaultKnownNodesPath(); err != nil || path != wanted {
			t.Errorf("%q: %q %v", state, path, err)
		}
	}
}

func TestAFileThatCannotBeWrittenIsAWarning(t *testing.T) {
	node := startNode(t)
	dir := t.TempDir()
	k, err := OpenKnownNodes(filepath.Join(dir, "a", "known"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "a"), "no folder", 0o600)
	var log strings.Builder
	client := clientOf(t, func(c *Config) { c.KnownNodes, c.Logger = k, slog.New(slog.NewTextHandler(&log, nil)) }, node)
	derive(t, client)
	client.Close()
	derive(t, client)
	if strings.Count(log.String(), "WARN") != 1 || !strings.Contains(log.String(), "cannot remember") {
		t.Error(log.String())
	}
	// It is remembered nevertheless: version 1 is not asked about.
	client.Close()
	node.Rule(on("/session", nodetest.Say(404, "{}")))
	_, err = client.Derive(ctx, "p")
	expect(t, err, ErrNoSession)
	expectCount(t, node, "/kms/derive", 0)
}
