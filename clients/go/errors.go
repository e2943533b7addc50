package novakms

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Kind says what went wrong. Kinds are errors, so that errors.Is takes them: errors.Is(err, novakms.ErrNotFound).
type Kind string

// What can go wrong with a call. Every error of this package is one of these, and an *Error.
const (
	// ErrInvalid is the caller's mistake: an argument that no node takes. Nothing was sent.
	ErrInvalid Kind = "invalid"
	// ErrRefused means that the node has refused the operation: Error has Status and Code.
	ErrRefused Kind = "refused"
	// ErrNotFound means that there is no such record. It is ErrRefused, too.
	ErrNotFound Kind = "not found"
	// ErrUnavailable means that no node took the operation: no connection, no complete answer, or nodes that are busy, which Error.Status
	// (429, 503) and Error.RetryAfter say. A put or delete that a node refuses with 503 in an answer that is Authentic may have been made
	// there, with fewer copies than the node is to have (WRITE_STRICT).
	ErrUnavailable Kind = "unavailable"
	// ErrTimeout means that a node has not answered in time. It is ErrUnavailable, too.
	ErrTimeout Kind = "no answer in time"
	// ErrCanceled means that the caller's context ended first. The error is what the context says, too: context.Canceled,
	// context.DeadlineExceeded.
	ErrCanceled Kind = "canceled"
	// ErrNoSession means that there is no session, or that plain answers came in one: they prove nothing. And version 1 may not be spoken.
	ErrNoSession Kind = "no session"
	// ErrOutcomeUnknown means that a put or delete may have been done or not: its answer did not come, or is not provably the node's.
	// Where the caller's context ended, it is what the context says, too.
	ErrOutcomeUnknown Kind = "outcome unknown"
	// ErrProtocol means that what came is not provably the node's answer to this request, or not what the protocol allows.
	ErrProtocol Kind = "protocol violation"
)

// Error makes a Kind an error.
func (k Kind) Error() string { return "novakms: " + string(k) }

// Error is what went wrong with a call. Its text has no key, no value and no name of one; a node's words in it are bounded and printable.
// Find one with errors.As.
type Error struct {
	// Kind is what errors.Is goes by.
	Kind Kind
	// Sent says whether a node may have got the operation.
	Sent bool
	// Status is the HTTP status of a refusal, or of a busy node (docs/protocol.md section 2); 0 where there is none.
	Status int
	// Code is the node's word for it.
	Code string
	// RetryAfter is how long a busy node asks to wait; 0 where it does not say.
	RetryAfter time.Duration
	// Authentic says whether Status and Code are in a sealed answer. In version 1 refusals are not signed: anybody on the way could have
	// sent them.
	Authentic bool

	text  string
	plain int   // HTTP status of a plain answer where a sealed one was due
	cause error // what the caller's context says
}

// Error describes what went wrong.
func (e *Error) Error() string { return "novakms: " + e.text }

// Is says whether the error is of a Kind.
func (e *Error) Is(target error) bool {
	return target == e.Kind || e.Kind == ErrNotFound && target == ErrRefused || e.Kind == ErrTimeout && target == ErrUnavailable
}

// Unwrap returns what the caller's context says, where it ended.
func (e *Error) Unwrap() error { return e.cause }

const (
	maxWords = 300                       // characters of a text that comes from a node
	maxWait  = 999_999_999 * time.Second // that a node can ask for
)

// printable makes a text of somebody else one bounded line of ASCII, fit for a terminal.
func printable(text string) string {
	if len(text) > maxWords {
		text = strings.ToValidUTF8(text[:maxWords], "") + "..."
	}
	quoted := strconv.QuoteToASCII(text)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

func invalid(format string, arguments ...any) *Error {
	return &Error{Kind: ErrInvalid, text: fmt.Sprintf(format, arguments...)}
}

func violation(sent bool, format string, arguments ...any) *Error {
	return &Error{Kind: ErrProtocol, Sent: sent, text: fmt.Sprintf(format, arguments...)}
}

func unavailable(sent bool, format string, arguments ...any) *Error {
	return &Error{Kind: ErrUnavailable, Sent: sent, text: fmt.Sprintf(format, arguments...)}
}

// canceled is the error of a call whose context has ended.
func canceled(ctx context.Context, sent bool) *Error {
	text := "the context was canceled"
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		text = "the context's deadline has passed"
	}
	return &Error{Kind: ErrCanceled, Sent: sent, text: text, cause: ctx.Err()}
}

// asError makes an *Error of what a Signer or NodeSource of somebody else returns, whose text may be anything.
func asError(err error, what string) *Error {
	if known := (*Error)(nil); errors.As(err, &known) {
		return known
	}
	if kind := Kind(""); errors.As(err, &kind) {
		return &Error{Kind: kind, text: what + ": " + string(kind)}
	}
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, cause) {
			return &Error{Kind: ErrCanceled, text: what + ": " + cause.Error(), cause: cause}
		}
	}
	return unavailable(false, "%s: %s", what, printable(err.Error()))
}

// with is the error with Sent so: errors are not changed after they were given to somebody.
func (e *Error) with(sent bool) *Error {
	if e.Sent == sent {
		return e
	}
	changed := *e
	changed.Sent = sent
	return &changed
}

// isBusy says whether a node asks to be called later.
func (e *Error) isBusy() bool { return e.Kind == ErrUnavailable && e.Status != 0 }

// isUnavailable says whether no node took it.
func (e *Error) isUnavailable() bool { return e.Kind == ErrUnavailable || e.Kind == ErrTimeout }

func isBusyStatus(status int) bool { return status == 429 || status == 503 }

// refusal is what a node says with a status that is not 200.
func refusal(status int, code, message string, wait time.Duration, authentic bool) *Error {
	kind := ErrRefused
	switch {
	case isBusyStatus(status):
		kind = ErrUnavailable
	case status == 404:
		kind = ErrNotFound
	}
	return &Error{
		Kind: kind, Sent: true, Status: status, Code: printable(code), RetryAfter: wait, Authentic: authentic,
		text: printable(fmt.Sprintf("HTTP %d %s: %s", status, code, message)),
	}
}
