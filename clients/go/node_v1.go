package novakms

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"nova-kms/clients/go/internal/codec"
	"nova-kms/clients/go/internal/eth"
)

// call calls the node once in version 1.
func (n *node) call(ctx context.Context, operation Operation) (Result, *Error) {
	result, _, failure := n.callV1(ctx, operation, false)
	return result, failure
}

// hasSessions is what the node says in version 1. The question derives a key that nobody uses.
func (n *node) hasSessions(ctx context.Context, question Derive) (bool, *Error) {
	_, has, failure := n.callV1(ctx, question, true)
	return has, failure
}

func (n *node) callV1(ctx context.Context, operation Operation, asks bool) (Result, bool, *Error) {
	p, failure := n.peer(ctx)
	if failure != nil {
		return nil, false, failure
	}
	nonce, failure := n.nonce(ctx)
	if failure != nil {
		return nil, false, failure
	}
	seconds := n.now().Unix()
	text := "NovaKMS:AppAuth:" + nonce + ":" + p.wallet + ":" + strconv.FormatInt(seconds, 10)
	headers, signature, failure := n.prove(ctx, text, nonce, seconds)
	if failure != nil {
		return nil, false, failure
	}
	asked := request{headers: headers, maxBytes: n.maxAnswer}
	asked.method, asked.path = routeV1(operation)
	if asked.method != http.MethodGet {
		headers["Content-Type"] = contentJSON
		inner := innerV1(operation, signature, asks)
		body, err := p.channel.Seal(ctx, inner)
		clear(inner)
		if err != nil {
			return nil, false, asError(err, "the identity").with(false)
		}
		asked.body = body
	}
	answer, failure := n.server.call(ctx, asked)
	if failure != nil {
		return nil, false, failure
	}
	if answer.status != http.StatusOK {
		code, message := words(answer)
		return nil, false, n.named(refusal(answer.status, code, message, answer.retryAfter(n.now()), false))
	}
	return n.finish(ctx, p, operation, signature, answer, asks)
}

// finish reads an answer of version 1.
func (n *node) finish(ctx context.Context, p *peer, operation Operation, signature string, answer *response, asks bool) (Result, bool, *Error) {
	distrust := func(err error) *Error { return violation(true, "%s: the answer is not trusted: %v", n.name, err) }
	signed := "NovaKMS:Response:" + signature + ":" + p.wallet
	if !eth.IsSignedBy(p.wallet, []byte(signed), answer.header("X-KMS-Response-Signature")) {
		return nil, false, distrust(codec.Malformed("not signed by the node"))
	}
	plain, failure := openWith(ctx, p.channel, answer.body)
	if failure != nil {
		if failure.Kind == ErrProtocol {
			return nil, false, violation(true, "%s: the answer is not trusted: %s", n.name, failure.text)
		}
		return nil, false, failure.with(true)
	}
	defer clear(plain)
	reply, err := codec.ParseObject(plain)
	if err != nil {
		return nil, false, distrust(err)
	}
	has, err := n.bound(reply, operation, signature, asks)
	if err != nil {
		return nil, false, distrust(err)
	}
	result, err := operation.read(reply)
	if err != nil {
		return nil, false, distrust(err)
	}
	return result, has, nil
}

// bound takes from a reply what binds it to its request, and says whether it names sessions as a feature.
func (n *node) bound(reply codec.Object, operation Operation, signature string, asks bool) (bool, error) {
	pop, hasPop := reply["pop"]
	delete(reply, "pop")
	hasBody := true
	switch operation.(type) {
	case Get, List:
		hasBody = false // such a request has none to be bound to
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	text, _ := pop.(codec.Text)
	if hasPop && string(text) != signature || !hasPop && hasBody && n.binds {
		return false, codec.Malformed("bound to another request")
	}
	n.binds = n.binds || hasPop
	if !asks {
		return false, nil
	}
	features, has := reply["features"]
	delete(reply, "features")
	list, isList := features.([]any)
	if has && !isList {
		return false, codec.Malformed("features is no list")
	}
	for _, item := range list {
		if feature, _ := item.(codec.Text); string(feature) == "session" {
			return true, nil
		}
	}
	return false, nil
}

// openWith opens an envelope. ErrProtocol: it is not the node's.
func openWith(ctx context.Context, channel Channel, body []byte) ([]byte, *Error) {
	plain, err := channel.Open(ctx, body)
	if err == nil {
		return plain, nil
	}
	return nil, asError(err, "the identity")
}

func innerV1(operation Operation, signature string, asks bool) []byte {
	inner := operation.members()
	inner["pop"] = signature
	if asks {
		// Nodes of every version take it: without what those before this one refuse.
		delete(inner, "op")
		inner["features"] = []string{"session"}
	} else {
		inner["strict"] = true
	}
	return codec.Encode(inner)
}

// routeV1 returns method and path of an operation in version 1.
func routeV1(operation Operation) (method, path string) {
	const records = "/kms/data"
	switch o := operation.(type) {
	case Put:
		return http.MethodPut, records
	case Delete:
		return http.MethodDelete, records
	case Get:
		return http.MethodGet, records + "?key=" + escape(o.Key)
	case List:
		var parts []string
		if o.After != "" {
			parts = append(parts, "after="+escape(o.After))
		}
		if o.Limit != 0 {
			parts = append(parts, "limit="+strconv.Itoa(o.Limit))
		}
		if o.Prefix != "" {
			parts = append(parts, "prefix="+escape(o.Prefix))
		}
		if len(parts) == 0 {
			return http.MethodGet, records
		}
		return http.MethodGet, records + "?" + strings.Join(parts, "&")
	}
	return http.MethodPost, "/kms/derive"
}

// escape percent-encodes a text: a space, too.
func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }
