package novakms

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"nova-kms/clients/go/internal/eth"
)

const (
	kmsAddress  = "0x1111111111111111111111111111111111111111"
	appsAddress = "0x2222222222222222222222222222222222222222"
	kmsApp      = 7
)

// testChain is a JSON-RPC server with the registries.
type testChain struct {
	t         *testing.T
	server    *httptest.Server
	instances []testInstance
	versions  map[uint64]byte
	head      map[string]any
	chainID   string
	answer    func(method string, params []any) any // what is said instead; nil: what is true
	whole     http.HandlerFunc
	block     string // that was read at
	requests  int
	path      string
}

type testInstance struct {
	id, app, version uint64
	url              string
	pubkey           []byte
	wallet, listed   string
	verified         bool
	status           byte
}

type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func startChain(t *testing.T) *testChain {
	t.Helper()
	c := &testChain{t: t, versions: map[uint64]byte{1: 0, 2: 1, 3: 2}, chainID: "0x5"}
	c.head = map[string]any{"number": "0x64", "timestamp": fmt.Sprintf("0x%x", time.Now().Unix())}
	c.server = httptest.NewServer(c)
	t.Cleanup(c.server.Close)
	return c
}

// add lists an instance that is a good one, after change has changed it.
func (c *testChain) add(change func(*testInstance)) {
	number := uint64(len(c.instances) + 1)
	i := testInstance{
		id: number, app: kmsApp, version: 1, url: fmt.Sprintf("http://127.0.0.1:%d", 8000+number), pubkey: testIdentity(c.t).Pubkey(),
		wallet: fmt.Sprintf("0x%040x", number), verified: true,
	}
	if change != nil {
		change(&i)
	}
	if i.listed == "" {
		i.listed = i.wallet
	}
	c.instances = append(c.instances, i)
}

func (c *testChain) config() ChainConfig {
	return ChainConfig{RPCURL: c.server.URL + "/v3/hush-hush?key=hush", KMSRegistry: kmsAddress, AllowPrivate: true}
}

func (c *testChain) nodes(change func(*ChainConfig)) ([]Node, error) {
	c.t.Helper()
	config := c.config()
	if change != nil {
		change(&config)
	}
	chain, err := NewChain(config)
	if err != nil {
		c.t.Fatal(err)
	}
	defer chain.Close()
	nodes, err := chain.Nodes(ctx)
	if err != nil {
		hides(c.t, shown(err), "hush")
	}
	return nodes, err
}

func (c *testChain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.requests++
	c.path = r.RequestURI
	if c.whole != nil {
		c.whole(w, r)
		return
	}
	var calls []struct {
		ID     int
		Method string
		Params []any
	}
	if err := json.NewDecoder(r.Body).Decode(&calls); err != nil || len(calls) > callsAtOnce {
		c.t.Error(len(calls), err)
	}
	answers := []any{}
	for _, call := range calls {
		answer := map[string]any{"jsonrpc": "2.0", "id": call.ID}
		switch said := c.say(call.Method, call.Params).(type) {
		case rpcError:
			answer["error"] = said
		default:
			answer["result"] = said
		}
		answers = append([]any{answer}, answers...) // in another order
	}
	json.NewEncoder(w).Encode(answers) // fails where the client has gone
}

func (c *testChain) say(method string, params []any) any {
	if c.answer != nil {
		if said := c.answer(method, params); said != nil {
			return said
		}
	}
	switch method {
	case "eth_chainId":
		return c.chainID
	case "eth_getBlockByNumber":
		return c.head
	}
	call := params[0].(map[string]any)
	c.block = params[1].(string)
	data := call["data"].(string)
	switch {
	case call["to"] == kmsAddress && data == eth.Call("kmsAppId()"):
		return wordsOf(kmsApp)
	case call["to"] == kmsAddress && data == eth.Call("novaAppRegistry()"):
		return wordsOf(appsAddress)
	case call["to"] == appsAddress && data == eth.Call("getActiveInstances(uint256)", uint64(kmsApp)):
		list := []any{32, len(c.instances)}
		for _, i := range c.instances {
			list = append(list, i.listed)
		}
		return wordsOf(list...)
	}
	for _, i := range c.instances {
		if call["to"] == appsAddress && data == eth.Call("getInstanceByWallet(address)", i.listed) {
			return instanceData(i)
		}
	}
	for id, status := range c.versions {
		if call["to"] == appsAddress && data == eth.Call("getVersion(uint256,uint256)", uint64(kmsApp), id) {
			return wordsOf(32, int(id), 320, 0, 320, 320, 320, 320, int(status), 0, 0, 0)
		}
	}
	if call["to"] == appsAddress {
		return rpcError{3, "execution reverted"}
	}
	return "0x"
}

// wordsOf is data of numbers, addresses and contents.
func wordsOf(values ...any) string {
	var data []byte
	for _, value := range values {
		word := make([]byte, 32)
		switch v := value.(type) {
		case int:
			binary.BigEndian.PutUint64(word[24:], uint64(v))
		case uint64:
			binary.BigEndian.PutUint64(word[24:], v)
		case string:
			address, _ := hex.DecodeString(v[2:])
			copy(word[12:], address)
		case []byte:
			binary.BigEndian.PutUint64(word[24:], uint64(len(v)))
			word = append(append(word, v...), make([]byte, (32-len(v)%32)%32)...)
		}
		data = append(data, word...)
	}
	return "0x" + hex.EncodeToString(data)
}

func instanceData(i testInstance) string {
	verified := 0
	if i.verified {
		verified = 1
	}
	behind := 320 + 32 + (len(i.url)+31)/32*32
	return wordsOf(32, i.id, i.app, i.version, kmsAddress, 320, behind, i.wallet, verified, int(i.status), 0, []byte(i.url), i.pubkey)
}

func TestNodesOfAChain(t *testing.T) {
	c := startChain(t)
	for range 60 { // more than calls of a request
		c.add(nil)
	}
	nodes, err := c.nodes(nil)
	if err != nil || len(nodes) != 60 || c.requests != 1+2+1+2+1 {
		t.Fatal(len(nodes), c.requests, err)
	}
	point := testIdentity(t).p384.Point()
	if wanted := (Node{"http://127.0.0.1:8001", fmt.Sprintf("0x%040x", 1), hex.EncodeToString(point), false}); nodes[0] != wanted {
		t.Errorf("%v, not %v", nodes[0], wanted)
	}
	if c.path != "/v3/hush-hush?key=hush" {
		t.Error(c.path)
	}
}

func TestWhoIsNoNode(t *testing.T) {
	for name, change := range map[string]func(*testInstance){
		"no id":             func(i *testInstance) { i.id = 0 },
		"another app":       func(i *testInstance) { i.app = 8 },
		"another wallet":    func(i *testInstance) { i.listed = kmsAddress },
		"stopped":           func(i *testInstance) { i.status = 1 },
		"unverified":        func(i *testInstance) { i.verified = false },
		"revoked version":   func(i *testInstance) { i.version = 3 },
		"no such version":   func(i *testInstance) { i.version = 4 },
		"no key":            func(i *testInstance) { i.pubkey = nil },
		"a key too long":    func(i *testInstance) { i.pubkey = make([]byte, 257) },
		"a key off curve":   func(i *testInstance) { i.pubkey = append([]byte{4}, make([]byte, 96)...) },
		"no URL":            func(i *testInstance) { i.url = "" },
		"a URL too long":    func(i *testInstance) { i.url = "http://a/" + strings.Repeat("a", 2040) },
		"a URL with a user": func(i *testInstance) { i.url = "http://u@a" },
		"no text":           func(i *testInstance) { i.url = "http://\xff" },
	} {
		c := startChain(t)
		c.add(change)
		c.add(func(i *testInstance) { i.version = 2 }) // deprecated
		nodes, err := c.nodes(nil)
		if err != nil || len(nodes) != 1 || !strings.HasSuffix(nodes[0].URL, ":8002") {
			t.Errorf("%s: %v %v", name, nodes, err)
		}
	}
	c := startChain(t)
	c.add(nil)
	c.add(func(i *testInstance) { i.url = "https://node.example" })
	nodes, err := c.nodes(func(config *ChainConfig) { config.AllowPrivate = false })
	if err != nil || len(nodes) != 1 || nodes[0].URL != "https://node.example" || !nodes[0].PublicOnly {
		t.Error(nodes, err)
	}
	c = startChain(t)
	if nodes, err := c.nodes(nil); err != nil || len(nodes) != 0 {
		t.Error(nodes, err)
	}
}

func TestTheChainIsReadBehindItsHead(t *testing.T) {
	for confirmations, block := range map[int]string{0: "0x5e", AtHead: "0x64", 1: "0x63", 100: "0x0", 10000: "0x0"} {
		c := startChain(t)
		if _, err := c.nodes(func(config *ChainConfig) { config.Confirmations = confirmations }); err != nil || c.block != block {
			t.Errorf("%d: %s, not %s: %v", confirmations, c.block, block, err)
		}
	}
}

func TestWhatIsNoHead(t *testing.T) {
	now := time.Now().Unix()
	at := func(seconds int64) string { return fmt.Sprintf("0x%x", now+seconds) }
	for _, c := range []struct {
		head any
		kind Kind
	}{
		{map[string]any{"number": "0x64", "timestamp": at(-290)}, ""}, {map[string]any{"number": "0x64", "timestamp": at(-302)}, ErrUnavailable},
		{map[string]any{"number": "0x64", "timestamp": at(50)}, ""}, {map[string]any{"number": "0x64", "timestamp": at(70)}, ErrUnavailable},
		{map[string]any{"number": "0x64", "timestamp": "0x7fffffffffffffff"}, ErrUnavailable}, {map[string]any{"number": "0x7fffffffffffffff", "timestamp": at(0)}, ""},
		{map[string]any{"number": "0x8000000000000000", "timestamp": at(0)}, ErrProtocol}, {map[string]any{"number": "64", "timestamp": at(0)}, ErrProtocol},
		{map[string]any{"number": "0x", "timestamp": at(0)}, ErrProtocol}, {map[string]any{"number": "0x+1", "timestamp": at(0)}, ErrProtocol},
		{map[string]any{"number": 100, "timestamp": at(0)}, ErrProtocol}, {map[string]any{"timestamp": at(0)}, ErrProtocol}, {[]int{}, ErrProtocol}, {"x", ErrProtocol},
		{rpcError{-32000, "busy\x1b"}, ErrUnavailable},
	} {
		chain := startChain(t)
		chain.answer = func(method string, _ []any) any {
			if method == "eth_getBlockByNumber" {
				return c.head
			}
			return nil
		}
		_, err := chain.nodes(nil)
		if c.kind == "" {
			if err != nil {
				t.Errorf("%v: %v", c.head, err)
			}
		} else if e := expect(t, err, c.kind); strings.ContainsRune(e.Error(), 0x1b) {
			t.Error(e)
		}
	}
}

func TestWhatIsNoRegistry(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*ChainConfig)
		answer func(string, []any) any
		kind   Kind
	}{
		"no contract":      {change: func(c *ChainConfig) { c.KMSRegistry = strings.Repeat("99", 20) }, kind: ErrProtocol},
		"another registry": {change: func(c *ChainConfig) { c.AppRegistry = kmsAddress }, kind: ErrProtocol},
		"another chain":    {change: func(c *ChainConfig) { c.ChainID = 6 }, kind: ErrProtocol},
		"odd data":         {answer: onCall("0x00"), kind: ErrProtocol},
		"no digits":        {answer: onCall("0xzz"), kind: ErrProtocol},
		"no prefix":        {answer: onCall(wordsOf(1)[2:]), kind: ErrProtocol},
		"no text":          {answer: onCall(7), kind: ErrProtocol},
		"an error":         {answer: onCall(rpcError{-32000, "out of gas"}), kind: ErrUnavailable},
		"a revert":         {answer: onCall(rpcError{3, "x"}), kind: ErrProtocol},
		"revert in words":  {answer: onCall(rpcError{-32000, "VM Exception: Reverted"}), kind: ErrProtocol},
	} {
		chain := startChain(t)
		chain.answer = c.answer
		if _, err := chain.nodes(c.change); err == nil {
			t.Errorf("%s is taken", name)
		} else {
			expect(t, err, c.kind)
		}
	}
	chain := startChain(t)
	if _, err := chain.nodes(func(c *ChainConfig) { c.ChainID, c.AppRegistry = 5, strings.ToUpper(appsAddress[2:]) }); err != nil {
		t.Error(err)
	}
}

func onCall(said any) func(string, []any) any {
	return func(method string, _ []any) any {
		if method == "eth_call" {
			return said
		}
		return nil
	}
}

func TestWhatIsNoAnswerOfAnRPCServer(t *testing.T) {
	for text, kind := range map[string]Kind{
		"": ErrProtocol, "{}": ErrProtocol, "[]": ErrProtocol, `[{"id":0,"result":"0x1"}]`: ErrProtocol, `[{"id":0},{"id":0}]`: ErrProtocol,
		`[{"id":0},{"id":2}]`: ErrProtocol, `[{"id":0},{"id":-1}]`: ErrProtocol, `[{"id":0},{"id":"1"}]`: ErrProtocol, `[{"id":0},{"id":1},{"id":1}]`: ErrProtocol,
		`[{"id":0},{"id":1}]`: ErrUnavailable, `[1,2]`: ErrProtocol, `[{"id":0,"result":1.5},{"id":1}]`: ErrProtocol,
	} {
		c := startChain(t)
		c.whole = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
		if _, err := c.nodes(nil); err == nil {
			t.Errorf("%s is taken", text)
		} else {
			expect(t, err, kind)
		}
	}
	c := startChain(t)
	c.whole = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
	}
	_, err := c.nodes(nil)
	if e := expect(t, err, ErrUnavailable); e.RetryAfter != 7*time.Second || e.Sent {
		t.Error(e)
	}
}

func TestAServerThatIsSlowWithEachAnswerDoesNotHoldAReading(t *testing.T) {
	c := startChain(t)
	for range 200 {
		c.add(nil)
	}
	c.answer = func(method string, _ []any) any {
		time.Sleep(10 * time.Millisecond) // half a second a request
		return nil
	}
	begun := time.Now()
	_, err := c.nodes(func(config *ChainConfig) { config.Timeout = 700 * time.Millisecond })
	if e := expect(t, err, ErrTimeout); e.Sent || errors.Is(err, context.DeadlineExceeded) {
		t.Error(e)
	}
	c.server.Close() // and wait for what it is still at
	if c.requests > 6 || time.Since(begun) > waitFor {
		t.Error(c.requests, time.Since(begun))
	}
}

func TestAContextEndsAReading(t *testing.T) {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	chain, err := NewChain(startChain(t).config())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chain.Nodes(ended); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestChainConfig(t *testing.T) {
	for name, change := range map[string]func(*ChainConfig){
		"URL":            func(c *ChainConfig) { c.RPCURL = "hush" },
		"odd query":      func(c *ChainConfig) { c.RPCURL = "http://a?hush hush" },
		"odd query ":     func(c *ChainConfig) { c.RPCURL = "http://a?hush?hush" },
		"KMSRegistry":    func(c *ChainConfig) { c.KMSRegistry = "" },
		"KMSRegistry ":   func(c *ChainConfig) { c.KMSRegistry = kmsAddress + "0" },
		"AppRegistry":    func(c *ChainConfig) { c.AppRegistry = "x" },
		"Confirmations":  func(c *ChainConfig) { c.Confirmations = -2 },
		"Confirmations ": func(c *ChainConfig) { c.Confirmations = 10001 },
		"MaxHeadAge":     func(c *ChainConfig) { c.MaxHeadAge = -1 },
		"MaxHeadAge ":    func(c *ChainConfig) { c.MaxHeadAge = longestMaxHeadAge + 1 },
		"Timeout":        func(c *ChainConfig) { c.Timeout = -1 },
		"Timeout ":       func(c *ChainConfig) { c.Timeout = maxTimeout + 1 },
	} {
		config := ChainConfig{RPCURL: "http://a", KMSRegistry: kmsAddress}
		change(&config)
		_, err := NewChain(config)
		if e := expect(t, err, ErrInvalid); !strings.Contains(e.Error(), strings.TrimSpace(name)) || strings.Contains(e.Error(), "hush") {
			t.Errorf("%s: %v", name, e)
		}
	}
	for _, change := range []func(*ChainConfig){
		func(*ChainConfig) {}, func(c *ChainConfig) { c.Confirmations, c.MaxHeadAge, c.Timeout = 10000, longestMaxHeadAge, maxTimeout },
	} {
		config := ChainConfig{RPCURL: "http://a", KMSRegistry: kmsAddress}
		change(&config)
		if _, err := NewChain(config); err != nil {
			t.Error(err)
		}
	}
}

func TestAClientReadsItsNodesFromAChain(t *testing.T) {
	node := startNode(t)
	c := startChain(t)
	c.add(func(i *testInstance) { i.url, i.wallet, i.pubkey = node.URL, node.Wallet, node.Point })
	chain, err := NewChain(c.config())
	if err != nil {
		t.Fatal(err)
	}
	defer chain.Close()
	client := clientOf(t, func(config *Config) { config.Source = chain })
	derive(t, client)
	expectCount(t, node, "/status", 0) // it is pinned
}
