package novakms

import (
	"context"
	"crypto/tls"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	defaultTimeout   = 10 * time.Second
	maxTimeout       = 24 * time.Hour
	maxPatience      = 24 * time.Hour
	defaultMaxAnswer = 160 << 20 // bytes: the longest listing that a node may be configured to give, sealed in version 1
	maxMaxAnswer     = 1 << 30
)

// NodeSource is where a list of nodes comes from that changes: Chain is one.
type NodeSource interface {
	// Nodes returns the nodes that there are now.
	Nodes(ctx context.Context) ([]Node, error)
}

// Config is what a Client is made of: Identity, and either Nodes or Source, must be there.
type Config struct {
	// Identity is the application's.
	Identity Signer
	// Nodes are called one at a time; on trouble the next one is.
	Nodes []Node
	// Source is asked for the nodes every minute, and what it says counts for three.
	Source NodeSource
	// Timeout is of each request as a whole: more than 0, at most 24 hours; 0 stands for 10 seconds.
	Timeout time.Duration
	// Patience is how long a call waits, in all, for nodes that are busy: 0 to 24 hours.
	Patience time.Duration
	// KnownNodes remembers which nodes have had sessions; nil: this client remembers it alone.
	KnownNodes *KnownNodes
	// AllowV1 speaks version 1 of the protocol where no session can be opened, also with a node that had sessions.
	AllowV1 bool
	// RetryWrites sends a put or delete again whose answer did not come, though it may overwrite what others wrote meanwhile.
	RetryWrites bool
	// RequirePoP refuses replies of version 1 that do not repeat the request's signature; existing nodes do not.
	RequirePoP bool
	// TLS is for https; nil: the system's certificates.
	TLS *tls.Config
	// MaxAnswerBytes is of an answer to operations: 1 KiB to 1 GiB; 0 stands for 160 MiB.
	MaxAnswerBytes int64
	// Logger gets a warning where the file of KnownNodes cannot be written; nil: slog.Default().
	Logger *slog.Logger
}

// Client calls nodes through sessions, and in version 1 of the protocol those that prove that they have none. Any number of goroutines may use it
// at once.
type Client struct {
	source   NodeSource
	settings settings
	patience time.Duration
	delivery delivery

	mutex   sync.Mutex
	byNode  map[Node]*entry
	entries []*entry
	readAt  time.Time // zero: never
	triedAt time.Time
	reading *reading // of the list of nodes, that is under way
}

// NewClient makes a client. Nothing is called yet. Close it when done.
func NewClient(config Config) (*Client, error) {
	c := &Client{source: config.Source, patience: config.Patience, byNode: map[Node]*entry{}}
	if wrong := checkConfig(&config); wrong != nil {
		return nil, wrong
	}
	logger := config.Logger
	c.settings = settings{
		identity: config.Identity, timeout: config.Timeout, maxAnswer: config.MaxAnswerBytes, requirePop: config.RequirePoP, allowV1: config.AllowV1,
		known: config.KnownNodes, tls: config.TLS, now: time.Now, sleep: sleep,
		warn: func(message string, err error) {
			if logger == nil {
				logger = slog.Default()
			}
			logger.Warn("novakms: "+message, "error", err)
		},
	}
	c.delivery = delivery{entries: c.now, retryWrites: config.RetryWrites, sleep: c.sleep}
	if c.source == nil {
		if wrong := c.update(config.Nodes); wrong != nil {
			return nil, wrong
		}
	}
	return c, nil
}

// checkConfig fills in what stands for nothing.
func checkConfig(c *Config) *Error {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.MaxAnswerBytes == 0 {
		c.MaxAnswerBytes = defaultMaxAnswer
	}
	if c.KnownNodes == nil {
		c.KnownNodes = NewKnownNodes()
	}
	switch {
	case c.Identity == nil:
		return invalid("there is no Identity")
	case (len(c.Nodes) > 0) == (c.Source != nil):
		return invalid("give either Nodes, one at least, or Source")
	case c.Timeout < 0 || c.Timeout > maxTimeout:
		return invalid("the Timeout is %v: more than 0 and at most %v are allowed", c.Timeout, maxTimeout)
	case c.Patience < 0 || c.Patience > maxPatience:
		return invalid("the Patience is %v: 0 to %v are allowed", c.Patience, maxPatience)
	case c.MaxAnswerBytes < 1<<10 || c.MaxAnswerBytes > maxMaxAnswer:
		return invalid("MaxAnswerBytes is %d: %d to %d are allowed", c.MaxAnswerBytes, 1<<10, maxMaxAnswer)
	}
	return nil
}

// sleep waits, but no longer than the context allows.
func sleep(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) sleep(ctx context.Context, wait time.Duration) error {
	return c.settings.sleep(ctx, wait)
}

// Close gives up the sessions and closes the connections that no call uses. A later call opens new ones. It never fails.
func (c *Client) Close() error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, e := range c.entries {
		e.close()
	}
	return nil
}

// String names the application's wallet.
func (c *Client) String() string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return fmt.Sprintf("Client of %s, %d nodes", c.settings.identity.Wallet(), len(c.entries))
}

// Format prints what String says, for every verb.
func (c *Client) Format(state fmt.State, _ rune) { show(state, c.String()) }

// ---- operations --------------------------------------------------------------------------------------------------

// Derive derives a key from a path, the same on every node. Wipe it after use. The key has 32 bytes; DeriveKey has more to choose.
func (c *Client) Derive(ctx context.Context, path string) (*Secret, error) {
	return c.DeriveKey(ctx, Derive{Path: path})
}

// DeriveKey derives a key of 1 to 1024 bytes from a path and a context.
func (c *Client) DeriveKey(ctx context.Context, operation Derive) (*Secret, error) {
	derived, err := one[Derived](ctx, c, operation)
	return derived.Key, err
}

// Put stores a value of up to 1 MiB under a key. ttl is how long the record lives, in whole milliseconds; 0: for ever.
func (c *Client) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (Written, error) {
	return one[Written](ctx, c, Put{key, value, ttl})
}

// Get reads a record. The error is ErrNotFound where there is none. Wipe the value after use.
func (c *Client) Get(ctx context.Context, key string) (Record, error) {
	return one[Record](ctx, c, Get{key})
}

// Delete deletes a record. The error is ErrNotFound where there is none.
func (c *Client) Delete(ctx context.Context, key string) (Deleted, error) {
	return one[Deleted](ctx, c, Delete{key})
}

// List reads one page of the keys. Keys reads page after page.
func (c *Client) List(ctx context.Context, operation List) (Page, error) {
	return one[Page](ctx, c, operation)
}

// Keys yields all keys that begin with a prefix, in the order of their bytes, and reads page after page for that. An error is the last that it
// yields.
func (c *Client) Keys(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		after := ""
		for {
			page, err := c.List(ctx, List{Prefix: prefix, After: after, Limit: MaxPageKeys})
			if err == nil && page.More && page.Next <= after {
				err = violation(true, "the node's pages do not end")
			}
			if err != nil {
				yield("", err)
				return
			}
			for _, key := range page.Keys {
				// A node that knows no pages sends all of its keys at once.
				if strings.HasPrefix(key, prefix) && !yield(key, nil) {
					return
				}
			}
			if !page.More {
				return
			}
			after = page.Next
		}
	}
}

// Batch runs operations in their order, in as few messages as they fit, and returns as many outcomes: of each the result, or the error that it
// alone would have. One that fails stops no other; where a message gets no authentic answer, those of later ones are not sent.
func (c *Client) Batch(ctx context.Context, operations ...Operation) []Outcome {
	b := newBatch(c, operations)
	for len(b.queue) > 0 {
		if failure := b.next(ctx); failure != nil {
			for _, position := range b.queue {
				b.outcomes[position].failure = notSent(failure)
			}
			break
		}
	}
	outcomes := make([]Outcome, len(operations))
	for i, o := range b.outcomes {
		outcomes[i].Result = o.result
		if o.failure != nil { // a nil *Error would be an error that is not nil
			outcomes[i].Err = o.failure
		}
	}
	return outcomes
}

func one[R Result](ctx context.Context, c *Client, operation Operation) (R, error) {
	done := c.Batch(ctx, operation)[0]
	result, _ := done.Result.(R)
	return result, done.Err
}
