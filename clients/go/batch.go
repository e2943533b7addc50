package novakms

import (
	"context"
	"net/http"
	"time"

	"nova-kms/clients/go/internal/codec"
)

const (
	maxMessage = 512 << 10 // bytes of a message's JSON, unless one operation alone takes more
	refused    = 4         // class of HTTP statuses with which nothing was done
)

// batch is operations under way: their outcomes, and the positions of those that are still to be sent.
type batch struct {
	client     *Client
	operations []Operation
	outcomes   []outcome
	queue      []int
	patience   time.Duration
}

func newBatch(c *Client, operations []Operation) *batch {
	b := &batch{client: c, operations: operations, outcomes: make([]outcome, len(operations)), patience: c.patience}
	for i, operation := range operations {
		if operation == nil {
			b.outcomes[i].failure = invalid("an operation is nil")
		} else if wrong := operation.check(); wrong != nil {
			b.outcomes[i].failure = wrong
		} else {
			b.queue = append(b.queue, i)
		}
	}
	return b
}

// next runs one message. It fails where what is in the queue cannot be sent.
func (b *batch) next(ctx context.Context) *Error {
	if ctx.Err() != nil {
		return canceled(ctx, false)
	}
	room := 1
	if len(b.operations) > 1 {
		var failure *Error
		if room, failure = b.client.delivery.room(ctx); failure != nil {
			return b.waitOr(ctx, failure)
		}
	}
	positions, m := b.fill(room)
	defer clear(m.text)
	outcomes, failure := b.client.delivery.run(ctx, m)
	for i, position := range positions {
		if failure != nil {
			b.outcomes[position] = outcome{failure: failed(m.operations[i], failure)}
		} else {
			b.outcomes[position] = outcomes[i]
		}
	}
	// Behind a write that may have been done or not, nothing is sent.
	var again []int
	if failure == nil || !failure.Sent || !m.writes {
		var ended *Error
		if again, ended = b.toRepeat(ctx, positions, m.writes); ended != nil {
			return ended
		}
	}
	b.queue = append(again, b.queue...)
	if len(again) == 0 {
		return failure
	}
	return nil
}

// fill takes operations from the front of the queue into a message.
func (b *batch) fill(room int) (positions []int, m *message) {
	m = &message{}
	var texts [][]byte
	size := 0
	for len(b.queue) > 0 && len(positions) < room {
		operation := b.operations[b.queue[0]]
		members := operation.members()
		members["strict"] = true
		text := codec.Encode(members)
		if size += len(text) + 1; len(positions) > 0 && size > maxMessage {
			clear(text)
			break
		}
		positions, b.queue = append(positions, b.queue[0]), b.queue[1:]
		m.operations, texts = append(m.operations, operation), append(texts, text)
		m.writes = m.writes || operation.writes()
	}
	m.text = joined(texts)
	return positions, m
}

// joined makes a message of the JSON of its operations: the one, or a list of them. It wipes what it copies.
func joined(texts [][]byte) []byte {
	if len(texts) == 1 {
		return texts[0]
	}
	size := 1
	for _, text := range texts {
		size += len(text) + 1
	}
	list := make([]byte, 0, size)
	for i, text := range texts {
		list = append(append(list, "[,"[min(i, 1)]), text...)
		clear(text)
	}
	return append(list, ']')
}

// waitOr waits for a busy node, and returns the failure where patience does not reach that far.
func (b *batch) waitOr(ctx context.Context, failure *Error) *Error {
	if !failure.isBusy() {
		return failure
	}
	wait := max(failure.RetryAfter, time.Second)
	if wait > b.patience {
		return failure
	}
	b.patience -= wait
	if b.client.sleep(ctx, wait) != nil {
		return canceled(ctx, false)
	}
	return nil
}

// toRepeat says which of a message are to be sent again: reads whose answers had no room beside others, and what a node was too busy for, where
// there is patience. It fails where the context ends while it waits.
func (b *batch) toRepeat(ctx context.Context, positions []int, writes bool) ([]int, *Error) {
	busy, longest := b.busyOnes(positions)
	waited := false
	if longest != nil {
		failure := b.waitOr(ctx, longest)
		if failure != nil && failure.Kind == ErrCanceled {
			for position := range busy {
				b.outcomes[position].failure = failure.with(b.outcomes[position].failure.Sent)
			}
			return nil, failure
		}
		waited = failure == nil
	}
	more := false // results that took the room
	for _, position := range positions {
		more = more || !writes && b.outcomes[position].failure == nil
	}
	var again []int
	for _, position := range positions {
		failure := b.outcomes[position].failure
		if failure != nil && (waited && busy[position] || more && failure.Kind == ErrRefused && failure.Status == http.StatusRequestEntityTooLarge) {
			again = append(again, position)
		}
	}
	return again, nil
}

// busyOnes says which of a message may be sent again since a node was too busy for them, in their order: none that would come behind a later write
// of its key that was made, or may have been. It returns the failure of one that asks for the longest wait, or nil, too.
func (b *batch) busyOnes(positions []int) (busy map[int]bool, longest *Error) {
	busy, written := map[int]bool{}, map[string]bool{}
	for i := len(positions) - 1; i >= 0; i-- {
		operation, failure := b.operations[positions[i]], b.outcomes[positions[i]].failure
		if failure != nil && b.mayWaitFor(positions[i]) && !written[operation.record()] {
			busy[positions[i]] = true
			if longest == nil || failure.RetryAfter >= longest.RetryAfter {
				longest = failure
			}
		} else if operation.writes() && (failure == nil || failure.Status/100 != refused) {
			written[operation.record()] = true
		}
	}
	return busy, longest
}

// mayWaitFor says whether an operation that failed may be sent again since a node was too busy for it. A write that is refused with 503 may have
// been made, without enough copies.
func (b *batch) mayWaitFor(position int) bool {
	failure := b.outcomes[position].failure
	mayBeDone := failure.Sent && failure.Status == http.StatusServiceUnavailable && b.operations[position].writes()
	return failure.isBusy() && (!mayBeDone || b.client.delivery.retryWrites)
}
