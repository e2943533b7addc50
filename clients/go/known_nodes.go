package novakms

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"nova-kms/clients/go/internal/eth"
)

const maxKnownNodes = 1 << 20 // bytes of the file

// KnownNodes remembers which nodes have had sessions: a client never goes back to version 1 with one of them unless it is told to.
//
// Its file is the one of nova-kms call: this user's own, one wallet a line. Who can take a line out of it, and sits on the way to the
// node, makes a client speak version 1: so a file that others can write, or that is not understood, is refused. Any number of goroutines may
// use it at once.
type KnownNodes struct {
	path    string
	mutex   sync.Mutex
	wallets map[string]bool
	unended string // what ends the last line of the file
}

// NewKnownNodes makes a memory of this process alone.
func NewKnownNodes() *KnownNodes { return &KnownNodes{wallets: map[string]bool{}} }

// OpenKnownNodes reads the file of a path, which need not exist yet.
func OpenKnownNodes(path string) (*KnownNodes, error) {
	known := NewKnownNodes()
	known.path = path
	if err := checkFolder(filepath.Dir(path), path); err != nil {
		return nil, err
	}
	content, err := readOwn(path, maxKnownNodes+1)
	if errors.Is(err, fs.ErrNotExist) {
		return known, nil
	}
	if err != nil {
		return nil, err
	}
	if len(content) > maxKnownNodes {
		return nil, invalid("%s: has more than %d bytes", printable(path), maxKnownNodes)
	}
	for number, line := range strings.Split(string(content), "\n") {
		if line == "" {
			continue
		}
		wallet, err := eth.ParseAddress(line)
		if err != nil || !strings.HasPrefix(line, "0x") {
			return nil, invalid("%s: line %d is not a node's wallet: 0x and 40 hexadecimal digits", printable(path), number+1)
		}
		known.wallets[wallet] = true
	}
	if len(content) > 0 && !bytes.HasSuffix(content, []byte("\n")) {
		known.unended = "\n"
	}
	return known, nil
}

// DefaultKnownNodesPath returns where nova-kms call keeps its file (XDG Base Directory Specification).
func DefaultKnownNodesPath() (string, error) {
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "nova-kms", "known-nodes"), nil
}

// Has says whether the node of a wallet, in canonical form, has had sessions.
func (k *KnownNodes) Has(wallet string) bool {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return k.wallets[wallet]
}

// Add remembers that the node of a wallet, in canonical form, has sessions. Where the file cannot be written, this process remembers it, and the
// error says why; the next Add of the same wallet does not try again.
func (k *KnownNodes) Add(wallet string) error {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if k.wallets[wallet] {
		return nil
	}
	k.wallets[wallet] = true
	if k.path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(k.path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(k.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	// One write, so that processes beside this one do not mix their lines.
	_, err = file.WriteString(k.unended + wallet + "\n")
	if failed := file.Close(); err == nil {
		err = failed
	}
	if err == nil {
		k.unended = ""
	}
	return err
}

// String says how many nodes there are.
func (k *KnownNodes) String() string {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return fmt.Sprintf("KnownNodes of %d nodes", len(k.wallets))
}

// Format prints what String says, for every verb.
func (k *KnownNodes) Format(state fmt.State, _ rune) { show(state, k.String()) }
