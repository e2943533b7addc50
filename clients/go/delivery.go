package novakms

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"nova-kms/clients/go/internal/session"
)

const (
	mostSends    = 4                     // of a message: once, and three times again
	firstPause   = 50 * time.Millisecond // before the only node is called again, doubled each time
	firstRest    = time.Second           // how long a node in trouble is called after the others only, doubled each time
	mostRest     = time.Minute
	mostTroubles = 10 // that lengthen a rest
)

// Outcome is what came of one operation: its result, or its error.
type Outcome struct {
	// Result is nil where there is an Err.
	Result Result
	Err    error
}

// outcome is an Outcome under way.
type outcome struct {
	result  Result
	failure *Error
}

// entry is a node among several, with its sessions.
type entry struct {
	*sessions
	restMutex  sync.Mutex
	troubles   int
	restsUntil time.Time
}

func (e *entry) rests() bool {
	e.restMutex.Lock()
	defer e.restMutex.Unlock()
	return e.now().Before(e.restsUntil)
}

func (e *entry) trouble() {
	e.restMutex.Lock()
	defer e.restMutex.Unlock()
	rest := min(firstRest<<e.troubles, mostRest)
	e.troubles = min(e.troubles+1, mostTroubles)
	e.restsUntil = e.now().Add(aboutHalf(rest))
}

func (e *entry) fine() {
	e.restMutex.Lock()
	defer e.restMutex.Unlock()
	e.troubles, e.restsUntil = 0, time.Time{}
}

// aboutHalf is a time by chance from a half of the longest one to all of it, so that clients do not come back all at once.
func aboutHalf(longest time.Duration) time.Duration {
	return longest/2 + rand.N(longest/2+1)
}

// delivery brings operations to a node: it chooses it among several, sends a message again or to the next node where that is allowed, and says
// what came of each operation (docs/protocol.md section 15.5). Any number of goroutines may use it at once.
type delivery struct {
	// entries are the nodes that there are now.
	entries     func(context.Context) ([]*entry, *Error)
	retryWrites bool
	sleep       func(context.Context, time.Duration) error

	mutex sync.Mutex
	at    *entry // the current node; nil: the first one
}

// ---- nodes -------------------------------------------------------------------------------------------------------

// order is the current node first, then those behind it; those that rest come last.
func (d *delivery) order(entries []*entry) []*entry {
	d.mutex.Lock()
	at := max(0, slices.Index(entries, d.at))
	d.mutex.Unlock()
	var order, resting []*entry
	for i := range entries {
		e := entries[(at+i)%len(entries)]
		// The current node stays first: who has trouble with it moves on.
		if i > 0 && e.rests() {
			resting = append(resting, e)
		} else {
			order = append(order, e)
		}
	}
	return append(order, resting...)
}

// next leaves a node that is in trouble, unless somebody else has.
func (d *delivery) next(e *entry, entries []*entry) {
	e.trouble()
	order := d.order(entries)
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if len(order) > 1 && order[0] == e {
		d.at = order[1]
	}
}

// usable returns a node that can be sent operations, its session (nil: version 1), and all the nodes there are. Where it fails, nothing was sent.
func (d *delivery) usable(ctx context.Context) (*entry, *open, []*entry, *Error) {
	entries, failure := d.entries(ctx)
	if failure != nil {
		return nil, nil, nil, failure.with(false)
	}
	failure = unavailable(false, "there is no node")
	for _, e := range d.order(entries) {
		var current *open
		if current, failure = e.ready(ctx); failure == nil {
			return e, current, entries, nil
		}
		if failure.Kind == ErrCanceled {
			break // that is no trouble of the node
		}
		d.next(e, entries)
	}
	return nil, nil, entries, failure
}

// room says how many operations a message may hold; it opens a session where there is none.
func (d *delivery) room(ctx context.Context) (int, *Error) {
	_, current, _, failure := d.usable(ctx)
	if failure != nil {
		return 0, failure
	}
	if current == nil {
		return session.MaxOperations, nil
	}
	return current.keys.MaxOperations, nil
}

// ---- one message -------------------------------------------------------------------------------------------------

// message is operations that go together, as JSON.
type message struct {
	operations []Operation
	text       []byte
	writes     bool
}

// attempt is one sending of a message.
type attempt struct {
	entry   *entry
	current *open // nil: version 1
	several bool  // nodes
	number  int   // from 1
}

// run sends a message, and again where that is allowed. The failure is that no authentic answer came; its Sent says whether it may have been
// done.
func (d *delivery) run(ctx context.Context, m *message) ([]outcome, *Error) {
	var last *Error
	for number := 1; number <= mostSends; number++ {
		e, current, entries, failure := d.usable(ctx)
		if failure != nil {
			if last == nil || failure.Kind == ErrCanceled {
				return nil, failure.with(last != nil && last.Sent)
			}
			return nil, last
		}
		a := attempt{e, current, len(entries) > 1, number}
		outcomes, failure, again := d.send(ctx, m, a)
		if failure == nil {
			e.fine()
			if last != nil && last.Sent {
				afterLoss(outcomes, m.operations)
			}
			return outcomes, nil
		}
		// Once it may have been done, a later try that was not sent does not make it undone.
		last = failure.with(failure.Sent || last != nil && last.Sent)
		if !again {
			return nil, last
		}
		if failure := d.moveOn(ctx, a, entries, last); failure != nil {
			return nil, failure
		}
	}
	return nil, last
}

// moveOn chooses the next node, or waits for the only one.
func (d *delivery) moveOn(ctx context.Context, a attempt, entries []*entry, last *Error) *Error {
	aboutSession := last.plain == 400 || last.plain == 409 || last.plain == 410 // not about the node
	switch {
	case aboutSession && a.number == 1:
	case a.several:
		d.next(a.entry, entries)
	case a.number < mostSends:
		if d.sleep(ctx, aboutHalf(firstPause<<a.number)) != nil {
			return canceled(ctx, last.Sent)
		}
	}
	return nil
}

// send sends a message once. A failure says that no authentic answer came; again, that the message may be sent again.
func (d *delivery) send(ctx context.Context, m *message, a attempt) (outcomes []outcome, failure *Error, again bool) {
	several := a.several && a.number < mostSends
	if a.current == nil {
		outcomes = callV1(ctx, a.entry.node, m.operations)
		if first := outcomes[0].failure; several && first != nil && first.isUnavailable() && !first.isBusy() {
			return nil, first, true
		}
		return outcomes, nil, false
	}
	failure = a.entry.exchange(ctx, a.current, m.text, func(answer any) (err error) {
		outcomes, err = readAnswer(answer, m.operations)
		return err
	})
	if failure != nil {
		return nil, failure, d.mayRepeat(failure, m, a)
	}
	// A write that a busy node refused may have been made there, without enough copies.
	elsewhere := several && (!m.writes || d.retryWrites)
	if elsewhere && !slices.ContainsFunc(outcomes, func(o outcome) bool { return o.failure == nil || !o.failure.isUnavailable() }) {
		return nil, outcomes[0].failure, true
	}
	return outcomes, nil, false
}

// mayRepeat says whether a message whose answer did not come may be sent again.
func (d *delivery) mayRepeat(failure *Error, m *message, a attempt) bool {
	if a.number >= mostSends || failure.Kind == ErrCanceled || m.writes && failure.Sent && !d.retryWrites {
		return false
	}
	// The only node there is: asked again at once where that can help.
	return a.several || failure.Kind != ErrTimeout && !failure.isBusy()
}
