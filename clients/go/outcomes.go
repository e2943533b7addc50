package novakms

import (
	"context"
	"fmt"
	"time"

	"nova-kms/clients/go/internal/codec"
)

// failed is what a failure of a message means for one of its operations.
func failed(operation Operation, why *Error) *Error {
	if !operation.writes() || !why.Sent || why.Kind == ErrOutcomeUnknown {
		return why
	}
	return &Error{Kind: ErrOutcomeUnknown, Sent: true, text: "the outcome is not known: " + why.text, cause: why.cause}
}

// afterLoss is what came of operations that were sent before, when no answer came: a write that fails now may have been done then.
func afterLoss(outcomes []outcome, operations []Operation) {
	for i := range outcomes {
		if failure := outcomes[i].failure; failure != nil {
			outcomes[i].failure = failed(operations[i], failure.with(true))
		}
	}
}

// readAnswer reads one object for a single operation, or an array of as many; one object for several refuses them all.
func readAnswer(answer any, operations []Operation) ([]outcome, error) {
	outcomes := make([]outcome, len(operations))
	switch a := answer.(type) {
	case codec.Object:
		if len(operations) == 1 {
			outcomes[0] = outcomeOf(operations[0], a)
			return outcomes, nil
		}
		if status, ok := a.Uint64("status", 599); !ok || status == 200 {
			return nil, codec.Malformed("one result for several operations")
		}
		refused, err := refusedIn(a)
		if err != nil {
			return nil, err
		}
		for i := range outcomes {
			outcomes[i].failure = refused
		}
		return outcomes, nil
	case []any:
		if len(operations) != 1 && len(a) == len(operations) {
			for i, item := range a {
				outcomes[i] = outcomeOf(operations[i], item)
			}
			return outcomes, nil
		}
	}
	return nil, codec.Malformed("another number of results")
}

func outcomeOf(operation Operation, item any) outcome {
	result, refused, err := readItem(operation, item)
	if err != nil {
		return outcome{failure: violation(true, "the node's result does not fit the operation: %v", err)}
	}
	return outcome{result, refused}
}

func readItem(operation Operation, item any) (Result, *Error, error) {
	object, ok := item.(codec.Object)
	if !ok {
		return nil, nil, codec.Malformed("not an object")
	}
	if status, _ := object.Uint64("status", 599); status != 200 {
		refused, err := refusedIn(object)
		return nil, refused, err
	}
	delete(object, "status")
	result, err := operation.read(object)
	return result, nil, err
}

// refusedIn is a refusal in a sealed answer.
func refusedIn(item codec.Object) (*Error, error) {
	status, hasStatus := item.Uint64("status", 599)
	code, hasCode := item.Text("code")
	message, hasMessage := item.Text("message")
	if !hasStatus || status < 300 || !hasCode || !hasMessage {
		return nil, codec.Malformed("not a refusal")
	}
	var wait time.Duration
	if _, has := item["retry_after_s"]; has {
		seconds, ok := item.Count("retry_after_s", uint64(maxWait/time.Second))
		if !ok {
			return nil, codec.Malformed("not a refusal")
		}
		wait = time.Duration(seconds) * time.Second
	}
	return refusal(int(status), code, message, wait, true), nil
}

// ---- version 1 ---------------------------------------------------------------------------------------------------

// callV1 runs operations one by one. Behind one that got no answer none is sent.
func callV1(ctx context.Context, n *node, operations []Operation) []outcome {
	outcomes := make([]outcome, len(operations))
	var lost *Error
	for i, operation := range operations {
		if lost != nil {
			outcomes[i].failure = notSent(lost)
			continue
		}
		result, failure := n.call(ctx, operation)
		if failure == nil {
			outcomes[i].result = result
			continue
		}
		if failure.Kind == ErrCanceled || failure.isUnavailable() && !failure.isBusy() {
			lost = failure
		}
		if !isRefusalV1(failure) {
			failure = failed(operation, failure)
		}
		outcomes[i].failure = failure
	}
	return outcomes
}

// isRefusalV1 says that the operation was not done. Refusals of version 1 are plain, and taken for what they say; after a fault of the node or of a
// gateway the operation may have been done.
func isRefusalV1(e *Error) bool {
	switch e.Kind {
	case ErrRefused, ErrNotFound:
		return e.Status != 500 && e.Status != 502 && e.Status != 504
	}
	return e.isBusy()
}

// notSent is the error of an operation that was not sent because of what came of an earlier one.
func notSent(why *Error) *Error {
	return &Error{
		Kind: why.Kind, Status: why.Status, Code: why.Code, RetryAfter: why.RetryAfter, text: fmt.Sprintf("not sent: %s", why.text), cause: why.cause,
	}
}
