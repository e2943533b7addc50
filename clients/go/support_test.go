package novakms

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"nova-kms/clients/go/internal/nodetest"
)

const messagePath = "/session/message"

var ctx = context.Background()

func testIdentity(t testing.TB) *Identity {
	t.Helper()
	identity, err := IdentityFromSeed(bytes.Repeat([]byte("a"), seedSize))
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

func startNode(t testing.TB) *nodetest.Node {
	t.Helper()
	node := nodetest.Start(testIdentity(t).Pubkey())
	t.Cleanup(node.Close)
	return node
}

// clientOf makes a client of nodes, after change has changed its configuration.
func clientOf(t testing.TB, change func(*Config), nodes ...*nodetest.Node) *Client {
	t.Helper()
	config := Config{Identity: testIdentity(t), Timeout: time.Minute}
	for _, node := range nodes {
		config.Nodes = append(config.Nodes, Node{URL: node.URL})
	}
	if change != nil {
		change(&config)
	}
	client, err := NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// clock is a time that a test turns, and pauses that only note how long they would be.
type clock struct {
	mutex  sync.Mutex
	at     time.Time
	pauses []time.Duration
}

// setClock gives a client a clock, before it is used.
func setClock(c *Client) *clock {
	k := &clock{at: time.Now()}
	c.settings.now = func() time.Time {
		k.mutex.Lock()
		defer k.mutex.Unlock()
		return k.at
	}
	c.settings.sleep = func(ctx context.Context, wait time.Duration) error {
		k.mutex.Lock()
		defer k.mutex.Unlock()
		k.pauses = append(k.pauses, wait)
		return ctx.Err()
	}
	return k
}

func (k *clock) turn(by time.Duration) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.at = k.at.Add(by)
}

// on answers requests to one path.
func on(path string, answer http.HandlerFunc) func(string) http.HandlerFunc {
	return func(asked string) http.HandlerFunc {
		if asked == path {
			return answer
		}
		return nil
	}
}

// times answers the next requests to one path.
func times(count int, path string, answer http.HandlerFunc) func(string) http.HandlerFunc {
	var mutex sync.Mutex
	return func(asked string) http.HandlerFunc {
		mutex.Lock()
		defer mutex.Unlock()
		if asked != path || count == 0 {
			return nil
		}
		count--
		return answer
	}
}

func expect(t testing.TB, err error, kind Kind) *Error {
	t.Helper()
	var e *Error
	if none, ok := err.(*Error); err == nil || ok && none == nil {
		t.Fatalf("there is no error: %q is due", kind)
	}
	if !errors.Is(err, kind) || !errors.As(err, &e) {
		t.Fatalf("%v: is not %q", err, kind)
	}
	return e
}

func expectCount(t testing.TB, node *nodetest.Node, path string, count int) {
	t.Helper()
	if got := node.Count(path); got != count {
		t.Errorf("%d requests to %s, not %d", got, path, count)
	}
}

func derive(t testing.TB, c *Client) {
	t.Helper()
	key, err := c.DeriveKey(ctx, Derive{Path: "p", Length: 5})
	if err != nil {
		t.Fatal(err)
	}
	if !key.Equal([]byte("AAAAA")) {
		t.Errorf("another key, of %d bytes", key.Len())
	}
}
