package novakms

import (
	"context"
	"time"
)

const (
	readEvery  = time.Minute     // how often a list of nodes is read
	readAgain  = 5 * time.Second // how soon again where it could not be
	maxListAge = 3 * time.Minute
	maxNodes   = 1000
)

// reading is one of a list of nodes: others wait for what comes of it.
type reading struct {
	done    chan struct{}
	failure *Error
}

// update has the client call these nodes from now on, with the sessions there are.
func (c *Client) update(nodes []Node) *Error {
	if len(nodes) > maxNodes {
		return invalid("there are %d nodes: at most %d are allowed", len(nodes), maxNodes)
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	byNode := make(map[Node]*entry, len(nodes))
	entries := make([]*entry, 0, len(nodes))
	for _, named := range nodes {
		if byNode[named] != nil {
			continue
		}
		e := c.byNode[named]
		if e == nil {
			n, wrong := newNode(named, &c.settings)
			if wrong != nil {
				return wrong
			}
			e = &entry{sessions: &sessions{node: n}}
		}
		byNode[named] = e
		entries = append(entries, e)
	}
	for named, e := range c.byNode {
		if byNode[named] == nil {
			e.close()
		}
	}
	c.byNode, c.entries, c.readAt = byNode, entries, c.settings.now()
	return nil
}

// now returns the nodes, read anew where the list is old.
func (c *Client) now(ctx context.Context) ([]*entry, *Error) {
	if c.source != nil {
		if failure := c.refresh(ctx); failure != nil {
			return nil, failure
		}
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.entries, nil
}

// isDue says whether the list of nodes is to be read, and whether it is too old to do without; the caller has the mutex.
func (c *Client) isDue() (due, tooOld bool) {
	now := c.settings.now()
	age := now.Sub(c.readAt)
	tooOld = c.readAt.IsZero() || age > maxListAge
	return tooOld || age > readEvery && now.Sub(c.triedAt) > readAgain, tooOld
}

// refresh reads the list of nodes where that is due. While one goroutine does, others go on with the list there is; where it is too old, they
// wait for what comes of the reading. A list that cannot be read again counts for a while.
func (c *Client) refresh(ctx context.Context) *Error {
	for {
		c.mutex.Lock()
		due, tooOld := c.isDue()
		attempt := c.reading
		leads := due && attempt == nil
		if leads {
			attempt = &reading{done: make(chan struct{})}
			c.reading, c.triedAt = attempt, c.settings.now()
		}
		c.mutex.Unlock()
		switch {
		case leads:
			c.lead(ctx, attempt)
			if failure := attempt.failure; failure != nil && (tooOld || failure.Kind == ErrCanceled) {
				return failure
			}
			return nil
		case !tooOld:
			return nil
		}
		select {
		case <-ctx.Done():
			return canceled(ctx, false)
		case <-attempt.done:
		}
		// What ended with the other's context says nothing about the source.
		if attempt.failure == nil || attempt.failure.Kind != ErrCanceled {
			return attempt.failure
		}
	}
}

// lead reads the list of nodes, for those that wait as well.
func (c *Client) lead(ctx context.Context, attempt *reading) {
	// A source of somebody else may panic: nobody waits for ever then.
	attempt.failure = unavailable(false, "the reading of the list of nodes ended early")
	defer func() {
		c.mutex.Lock()
		defer c.mutex.Unlock()
		c.reading = nil
		close(attempt.done)
	}()
	nodes, err := c.source.Nodes(ctx)
	if err != nil {
		attempt.failure = asError(err, "the list of nodes")
	} else {
		attempt.failure = c.update(nodes)
	}
}
