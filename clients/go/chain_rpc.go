package novakms

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"nova-kms/clients/go/internal/codec"
)

// rpcCall is one call of JSON-RPC 2.0.
type rpcCall struct {
	method string
	params []any
}

// rpc makes calls, many in a request, and returns their answers in the same order.
func (c *Chain) rpc(ctx context.Context, calls []rpcCall) ([]codec.Object, *Error) {
	var answers []codec.Object
	for some := range slices.Chunk(calls, callsAtOnce) {
		more, failure := c.request(ctx, some)
		if failure != nil {
			return nil, failure
		}
		answers = append(answers, more...)
	}
	return answers, nil
}

func (c *Chain) request(ctx context.Context, calls []rpcCall) ([]codec.Object, *Error) {
	list := make([]any, len(calls))
	for i, call := range calls {
		list[i] = codec.Members{"jsonrpc": "2.0", "id": int64(i), "method": call.method, "params": call.params}
	}
	answer, failure := c.server.call(ctx, request{
		method: http.MethodPost, path: c.path, headers: map[string]string{"Content-Type": contentJSON}, body: codec.Encode(list),
		maxBytes: maxRPCAnswer,
	})
	if failure != nil {
		return nil, failure.with(false)
	}
	if answer.status != http.StatusOK {
		failure := unavailable(false, "%s: HTTP %d", c.server.name, answer.status)
		failure.RetryAfter = answer.retryAfter(c.now())
		return nil, failure
	}
	value, err := codec.Parse(answer.body)
	if err != nil {
		return nil, c.violation("%v", err)
	}
	items, _ := value.([]any)
	answers := make([]codec.Object, len(calls))
	for _, item := range items {
		object, _ := item.(codec.Object)
		id, ok := object.Uint64("id", uint64(len(calls)-1))
		if !ok || answers[id] != nil {
			return nil, c.violation("not an answer to each call")
		}
		answers[id] = object
	}
	if len(items) != len(calls) {
		return nil, c.violation("not an answer to each call")
	}
	return answers, nil
}

func (c *Chain) violation(format string, arguments ...any) *Error {
	return violation(false, "%s: %s", c.server.name, fmt.Sprintf(format, arguments...))
}

// result is that of an answer.
func (c *Chain) result(answer codec.Object) (any, *Error) {
	result, has := answer["result"]
	if has && answer["error"] == nil {
		return result, nil
	}
	refused, _ := answer["error"].(codec.Object)
	message, ok := refused.Text("message")
	if !ok {
		message = "an answer without a result"
	}
	return nil, unavailable(false, "%s: %s", c.server.name, printable(message))
}

// quantity is a number of JSON-RPC, below 2^63.
func quantity(value any) (uint64, bool) {
	text, _ := value.(codec.Text)
	digits, ok := strings.CutPrefix(string(text), "0x")
	if !ok || len(digits) > 16 {
		return 0, false
	}
	number, err := strconv.ParseUint(digits, 16, 63)
	return number, err == nil
}
