package novakms

import (
	"context"
	"crypto/tls"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"nova-kms/clients/go/internal/codec"
	"nova-kms/clients/go/internal/envelope"
	"nova-kms/clients/go/internal/eth"
)

const maxPage = 1 << 20 // bytes of a public page

// Node is where a node is, and who it must be.
type Node struct {
	// URL is http or https, without user name, query and fragment.
	URL string
	// Wallet and Pubkey (its teePubkey) are of the node, in hexadecimal digits. Where they are empty, the node's own word (GET /status) is taken for
	// them the first time, so that who answers at the URL is trusted.
	Wallet, Pubkey string
	// PublicOnly connects to nothing but public addresses.
	PublicOnly bool
}

// URLs makes nodes of URLs, whose word is taken for who they are.
func URLs(urls ...string) []Node {
	nodes := make([]Node, len(urls))
	for i, text := range urls {
		nodes[i].URL = text
	}
	return nodes
}

// settings are what all nodes of a client share.
type settings struct {
	identity   Signer
	timeout    time.Duration
	maxAnswer  int64
	requirePop bool
	allowV1    bool
	known      *KnownNodes
	warn       func(message string, err error)
	tls        *tls.Config
	now        func() time.Time
	sleep      func(context.Context, time.Duration) error
}

// peer is who a node is, and the channel to it.
type peer struct {
	wallet  string
	channel Channel
}

// node is one node as an application sees it: its public pages, who it is, and calls of version 1. Any number of goroutines may use it.
type node struct {
	*settings
	name   string // its URL
	server *server
	wallet string // that is pinned, or ""
	point  []byte // that is pinned, or nil

	mutex  sync.Mutex
	learnt *peer
	binds  bool // it has repeated pop
}

func newNode(named Node, shared *settings) (*node, *Error) {
	base, wrong := parseURL(named.URL)
	if wrong != nil {
		return nil, wrong
	}
	n := &node{settings: shared, name: strings.TrimRight(named.URL, "/"), binds: shared.requirePop}
	base.Path, base.RawPath = strings.TrimRight(base.Path, "/"), strings.TrimRight(base.RawPath, "/")
	n.server = newServer(base, n.name, shared.timeout, shared.tls, named.PublicOnly)
	var err error
	if named.Wallet != "" {
		if n.wallet, err = eth.ParseAddress(named.Wallet); err != nil {
			return nil, invalid("%s: the wallet that is pinned is %v", n.name, err)
		}
	}
	if named.Pubkey != "" {
		if n.point, err = parsePoint(named.Pubkey); err != nil {
			return nil, invalid("%s: the pubkey that is pinned is %v", n.name, err)
		}
	}
	return n, nil
}

func parsePoint(text string) ([]byte, error) {
	data, err := codec.Hex(text)
	if err != nil {
		return nil, err
	}
	return envelope.ParsePubkey(data)
}

// ---- public pages ------------------------------------------------------------------------------------------------

// page reads a public page that is a JSON object.
func (n *node) page(ctx context.Context, path string) (codec.Object, *Error) {
	answer, failure := n.server.call(ctx, request{method: http.MethodGet, path: path, maxBytes: maxPage})
	if failure != nil {
		return nil, failure.with(false)
	}
	if answer.status != http.StatusOK {
		return nil, n.plain(answer, false)
	}
	object, err := codec.ParseObject(answer.body)
	if err != nil {
		return nil, violation(false, "%s: %s does not give a JSON object", n.name, path)
	}
	return object, nil
}

// peer says who the node is: it learns that once.
func (n *node) peer(ctx context.Context) (*peer, *Error) {
	n.mutex.Lock()
	learnt := n.learnt
	n.mutex.Unlock()
	if learnt != nil {
		return learnt, nil
	}
	wallet, point, failure := n.identify(ctx)
	if failure != nil {
		return nil, failure
	}
	channel, err := n.identity.Channel(ctx, point)
	if err != nil {
		return nil, asError(err, "the identity").with(false)
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.learnt == nil { // what was learnt first stays
		n.learnt = &peer{wallet, channel}
	}
	return n.learnt, nil
}

func (n *node) identify(ctx context.Context) (wallet string, point []byte, failure *Error) {
	wallet, point = n.wallet, n.point
	if wallet != "" && point != nil {
		return wallet, point, nil
	}
	page, failure := n.page(ctx, "/status")
	if failure != nil {
		return "", nil, failure
	}
	named, _ := page["node"].(codec.Object)
	var err error
	if wallet == "" {
		text, _ := named.Text("tee_wallet")
		wallet, err = eth.ParseAddress(text)
	}
	if point == nil && err == nil {
		text, _ := named.Text("tee_pubkey")
		point, err = parsePoint(text)
	}
	if err != nil {
		return "", nil, violation(false, "%s: /status does not name the node's identity", n.name)
	}
	return wallet, point, nil
}

func (n *node) nonce(ctx context.Context) (string, *Error) {
	page, failure := n.page(ctx, "/nonce")
	if failure != nil {
		return "", failure
	}
	const most = 256
	nonce, _ := page.Text("nonce")
	isOdd := func(r rune) bool { return r < '!' || r > '~' }
	if nonce == "" || len(nonce) > most || strings.IndexFunc(nonce, isOdd) >= 0 {
		return "", violation(false, "%s: /nonce does not give a nonce", n.name)
	}
	return nonce, nil
}

// prove returns the headers that prove possession of the application's wallet, with the signature.
func (n *node) prove(ctx context.Context, message, nonce string, seconds int64) (map[string]string, string, *Error) {
	signature, err := n.identity.Sign(ctx, []byte(message))
	if err != nil {
		return nil, "", asError(err, "the identity").with(false)
	}
	return map[string]string{
		"X-App-Signature": signature, "X-App-Nonce": nonce, "X-App-Timestamp": strconv.FormatInt(seconds, 10), "X-App-Wallet": n.identity.Wallet(),
	}, signature, nil
}

// ---- plain answers -----------------------------------------------------------------------------------------------

// words are code and message of an error that a node says in plain.
func words(answer *response) (code, message string) {
	object, _ := codec.ParseObject(answer.body)
	if code, _ = object.Text("code"); code == "" {
		code = "error"
	}
	if message, _ = object.Text("message"); message == "" {
		message = "no reason given"
	}
	return code, message
}

// named says which node an error came from.
func (n *node) named(e *Error) *Error {
	e.text = n.name + ": " + e.text
	return e
}

// plain is a plain answer where something authentic was due: anyone on the way could have sent it. Of a busy node the status is kept, since
// waiting is safe.
func (n *node) plain(answer *response, sent bool) *Error {
	code, message := words(answer)
	said := n.named(refusal(answer.status, code, message, answer.retryAfter(n.now()), false))
	said.Sent = sent
	if said.isBusy() {
		return said
	}
	return &Error{Kind: ErrNoSession, Sent: sent, text: said.text, plain: answer.status}
}
