package novakms

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"nova-kms/clients/go/internal/codec"
	"nova-kms/clients/go/internal/nodetest"
)

// ---- limits ------------------------------------------------------------------------------------------------------

func TestWhatNoNodeTakesIsNotSent(t *testing.T) {
	node := startNode(t)
	client := clientOf(t, nil, node)
	long := strings.Repeat("a", MaxNameBytes)
	fits := []Operation{
		Derive{Path: long, Context: long, Length: MaxDerivedBytes}, Derive{Path: "p", Length: 1}, Put{Key: long, Value: nil, TTL: time.Millisecond},
		Put{Key: "k", Value: make([]byte, 100), TTL: 1<<63/1000000*1000000 - 1000000}, Get{strings.Repeat("ä", MaxNameBytes/2)}, Delete{long},
		List{Prefix: long, After: long, Limit: MaxPageKeys}, List{Limit: 1}, List{},
	}
	for _, operation := range fits {
		if wrong := operation.check(); wrong != nil {
			t.Errorf("%v: %v", operation, wrong)
		}
	}
	wrong := []Operation{
		Derive{}, Derive{Path: long + "a"}, Derive{Path: "p", Context: long + "a"}, Derive{Path: "p", Length: -1}, Derive{Path: "p", Length: MaxDerivedBytes + 1},
		Derive{Path: "\xff"}, Derive{Path: "p", Context: "\xed\xa0\x80"}, Put{}, Put{Key: long + "a"}, Put{Key: "k", TTL: -time.Millisecond},
		Put{Key: "k", TTL: time.Millisecond - 1}, Put{Key: "k", TTL: time.Second + 1}, Put{Key: "k", Value: make([]byte, MaxValueBytes+1)}, Get{}, Get{long + "a"},
		Get{strings.Repeat("ä", MaxNameBytes/2) + "a"}, Delete{}, Delete{"a\x80"}, List{Prefix: long + "a"}, List{After: "\xff"}, List{Limit: -1},
		List{Limit: MaxPageKeys + 1}, nil,
	}
	for i, o := range client.Batch(ctx, wrong...) {
		if e := expect(t, o.Err, ErrInvalid); e.Sent || o.Result != nil {
			t.Errorf("%v: %v", wrong[i], e)
		}
	}
	if wrong := (Put{Key: "k", Value: make([]byte, MaxValueBytes)}).check(); wrong != nil {
		t.Error(wrong)
	}
	if outcomes := client.Batch(ctx); len(outcomes) != 0 {
		t.Error(outcomes)
	}
	expectCount(t, node, "/status", 0)
}

func TestConfig(t *testing.T) {
	identity := testIdentity(t)
	good := func() Config { return Config{Identity: identity, Nodes: URLs("http://a")} }
	key := "04" + strings.Repeat("11", 96)
	for name, change := range map[string]func(*Config){
		"Identity":       func(c *Config) { c.Identity = nil },
		"Source":         func(c *Config) { c.Source = &testSource{} },
		"Nodes":          func(c *Config) { c.Nodes = nil },
		"URL":            func(c *Config) { c.Nodes = URLs("nonsense") },
		"wallet":         func(c *Config) { c.Nodes[0].Wallet = "0x12" },
		"pubkey":         func(c *Config) { c.Nodes[0].Pubkey = key },
		"1000":           func(c *Config) { c.Nodes = make([]Node, 1001) },
		"Timeout":        func(c *Config) { c.Timeout = -1 },
		"24h0m0s":        func(c *Config) { c.Timeout = maxTimeout + 1 },
		"Patience":       func(c *Config) { c.Patience = -1 },
		"Patience ":      func(c *Config) { c.Patience = maxPatience + 1 },
		"MaxAnswerBytes": func(c *Config) { c.MaxAnswerBytes = 1023 },
		"1073741824":     func(c *Config) { c.MaxAnswerBytes = 1<<30 + 1 },
	} {
		config := good()
		change(&config)
		_, err := NewClient(config)
		if e := expect(t, err, ErrInvalid); !strings.Contains(e.Error(), name) {
			t.Errorf("%s: %v", name, e)
		}
	}
	for _, change := range []func(*Config){
		func(*Config) {},
		func(c *Config) { c.Timeout, c.Patience, c.MaxAnswerBytes = 1, maxPatience, 1024 },
		func(c *Config) { c.Timeout, c.MaxAnswerBytes = maxTimeout, 1<<30 },
		func(c *Config) {
			c.Nodes = []Node{{URL: "http://a", Wallet: strings.Repeat("Ab", 20), Pubkey: fmt.Sprintf("0x%x", identity.Pubkey())}}
		},
	} {
		config := good()
		change(&config)
		if client, err := NewClient(config); err != nil {
			t.Error(err)
		} else {
			client.Close()
		}
	}
}

// ---- what a node says --------------------------------------------------------------------------------------------

func TestResultsFitTheirOperations(t *testing.T) {
	for _, c := range []struct {
		operation Operation
		fits      []string
		not       []string
	}{
		{Derive{Path: "p", Length: 3}, []string{
			`{"app_id":1,"key":"YWJj","length":3,"path":"p"}`, `{"app_id":18446744073709551615,"key":"YWJj","length":3,"path":"p"}`,
		}, []string{
			`{}`, `{"app_id":1,"key":"YWJj","length":3,"path":"q"}`, `{"app_id":1,"key":"YWI=","length":3,"path":"p"}`,
			`{"app_id":1,"key":"YWJj","length":2,"path":"p"}`, `{"app_id":1,"key":"YWJjZA==","length":4,"path":"p"}`, `{"app_id":1,"key":"x","length":3,"path":"p"}`,
			`{"app_id":1,"key":1,"length":3,"path":"p"}`, `{"app_id":18446744073709551616,"key":"YWJj","length":3,"path":"p"}`,
			`{"app_id":-1,"key":"YWJj","length":3,"path":"p"}`, `{"app_id":1,"key":"YWJj","length":3,"path":"p","more":1}`, `{"app_id":1,"key":"YWJj","length":3}`,
		}},
		{Put{Key: "k"}, []string{
			`{"app_id":1,"key":"k","updated_at_ms":9223372036854775807}`, `{"app_id":1,"copies":1,"key":"k","updated_at_ms":1}`,
			`{"app_id":1,"copies":2147483647,"key":"k","updated_at_ms":1}`,
		}, []string{
			`{"app_id":1,"key":"k","updated_at_ms":9223372036854775808}`, `{"app_id":1,"copies":0,"key":"k","updated_at_ms":1}`,
			`{"app_id":1,"copies":2147483648,"key":"k","updated_at_ms":1}`, `{"app_id":1,"copies":null,"key":"k","updated_at_ms":1}`,
			`{"app_id":1,"key":"k","updated_at_ms":"1"}`, `{"app_id":1,"key":"k2","updated_at_ms":1}`, `{"app_id":1,"key":"k","updated_at_ms":1,"value":"YQ=="}`,
			`{"app_id":1,"deleted":true,"key":"k"}`,
		}},
		{Get{"k"}, []string{`{"app_id":1,"key":"k","updated_at_ms":0,"value":""}`}, []string{
			`{"app_id":1,"key":"k","updated_at_ms":0}`, `{"app_id":1,"key":"k","updated_at_ms":0,"value":null}`, `{"app_id":1,"key":"k","updated_at_ms":-1,"value":""}`,
			`{"app_id":1,"key":"l","updated_at_ms":0,"value":""}`, `{"app_id":"1","key":"k","updated_at_ms":0,"value":""}`,
		}},
		{Delete{"k"}, []string{`{"app_id":1,"deleted":true,"key":"k"}`, `{"app_id":1,"copies":3,"deleted":true,"key":"k"}`}, []string{
			`{"app_id":1,"deleted":false,"key":"k"}`, `{"app_id":1,"deleted":1,"key":"k"}`, `{"app_id":1,"deleted":true,"key":"l"}`, `{"app_id":1,"key":"k"}`,
		}},
		{List{}, []string{`{"app_id":1,"count":0,"keys":[]}`, `{"app_id":1,"count":1,"keys":["a"],"next":"a"}`}, []string{
			`{"app_id":1,"count":1,"keys":[]}`, `{"app_id":1,"count":1,"keys":[1]}`, `{"app_id":1,"count":0,"keys":{}}`, `{"app_id":1,"count":0,"keys":[],"next":null}`,
			`{"app_id":1,"count":0,"keys":[],"next":1}`, `{"app_id":1,"keys":[]}`, `{"app_id":-1,"count":0,"keys":[]}`,
		}},
	} {
		try := func(text string) error {
			reply, err := codec.ParseObject([]byte(text))
			if err != nil {
				t.Fatal(text, err)
			}
			result, err := c.operation.read(reply)
			if err == nil && result == nil {
				t.Errorf("%s: nothing", text)
			}
			return err
		}
		for _, text := range c.fits {
			if err := try(text); err != nil {
				t.Errorf("%v: %s: %v", c.operation, text, err)
			}
		}
		for _, text := range c.not {
			if err := try(text); !codec.IsMalformed(err) {
				t.Errorf("%v: %s: %v", c.operation, text, err)
			}
		}
	}
}

func TestAnswersHaveAResultForEachOperation(t *testing.T) {
	const good, refused = `{"status":200,"app_id":1,"count":0,"keys":[]}`, `{"status":403,"code":"forbidden","message":"no"}`
	one, two := []Operation{List{}}, []Operation{List{}, List{}}
	for _, c := range []struct {
		text       string
		operations []Operation
		fits       bool
	}{
		{good, one, true}, {refused, one, true}, {"[" + good + "," + refused + "]", two, true}, {refused, two, true},
		{"[" + good + "]", one, false}, {good, two, false}, {"[" + good + "]", two, false}, {"[" + good + "," + good + "," + good + "]", two, false},
		{"[]", two, false}, {"null", one, false}, {`"x"`, one, false}, {`{"status":"200"}`, two, false}, {`{"status":403}`, two, false}, {"{}", two, false},
	} {
		value, err := codec.Parse([]byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		outcomes, err := readAnswer(value, c.operations)
		if (err == nil) != c.fits || c.fits && len(outcomes) != len(c.operations) {
			t.Errorf("%s for %d: %v", c.text, len(c.operations), err)
		}
	}
	for text, fits := range map[string]bool{
		`{"status":300,"code":"c","message":"m"}`: true, `{"status":599,"code":"c","message":"m"}`: true, `{"status":299,"code":"c","message":"m"}`: false,
		`{"status":600,"code":"c","message":"m"}`: false, `{"status":403,"code":1,"message":"m"}`: false, `{"status":403,"code":"c"}`: false,
		`{"status":503,"code":"c","message":"m","retry_after_s":0}`: true, `{"status":503,"code":"c","message":"m","retry_after_s":-1}`: false,
		`{"status":503,"code":"c","message":"m","retry_after_s":9223372036854775807}`:  true,
		`{"status":503,"code":"c","message":"m","retry_after_s":99999999999999999999}`: true, `{"status":503,"code":"c","message":"m","retry_after_s":"1"}`: false,
	} {
		object, err := codec.ParseObject([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		refused, err := refusedIn(object)
		if (err == nil) != fits || fits && (refused.RetryAfter < 0 || refused.RetryAfter > maxWait) {
			t.Errorf("%s: %v %v", text, refused, err)
		}
	}
}

func TestWordsOfANodeAreBoundedAndPrintable(t *testing.T) {
	for text, wanted := range map[string]string{
		"plain": "plain", "a\x1b[31m\n\x00b": `a\x1b[31m\n\x00b`, "ä\u202e": `\u00e4\u202e`, `"q"`: `"q"`, "\xff": `\xff`,
		strings.Repeat("a", maxWords):   strings.Repeat("a", maxWords),
		strings.Repeat("a", maxWords+1): strings.Repeat("a", maxWords) + "...",
	} {
		if got := printable(text); got != wanted {
			t.Errorf("%q: %q", text, got)
		}
	}
	node := startNode(t)
	node.Rule(on("/status", nodetest.Say(403, `{"code":"\u001b[31m","message":"`+strings.Repeat("x", 10000)+`"}`)))
	_, err := clientOf(t, nil, node).Get(ctx, "k")
	if text := expect(t, err, ErrNoSession).Error(); strings.ContainsRune(text, 0x1b) || len(text) > 2*maxWords {
		t.Errorf("%d bytes: %.60s", len(text), text)
	}
}

// ---- what is shown -----------------------------------------------------------------------------------------------

const hush = "hush-hush"

// shown is all that fmt makes of a value.
func shown(values ...any) string {
	var text strings.Builder
	for _, value := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o"} {
			fmt.Fprintf(&text, verb+"\n", value)
			fmt.Fprintf(&text, verb+"\n", []any{value})
			fmt.Fprintf(&text, verb+"\n", struct{ In any }{value})
		}
		slog.New(slog.NewTextHandler(&text, nil)).Info("x", "value", value)
	}
	return text.String()
}

// hides fails where a text has a secret in any spelling that fmt knows.
func hides(t *testing.T, text, secret string) {
	t.Helper()
	for _, spelling := range []string{
		secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprint([]byte(secret)), fmt.Sprintf("%#v", []byte(secret)), fmt.Sprintf("%o", []byte(secret)),
	} {
		if strings.Contains(text, strings.Trim(spelling, "[]")) {
			t.Errorf("shows %s in %.2000s", spelling, text)
		}
	}
}

func TestNoTypeShowsASecretOrAName(t *testing.T) {
	secret := NewSecret([]byte(hush))
	values := []any{
		secret, *secret, Derive{hush, hush, 9}, Put{hush, []byte(hush), 1}, Get{hush}, Delete{hush}, List{hush, hush, 1},
		Derived{1, hush, secret}, Written{1, hush, time.Now(), 1}, Record{1, hush, secret, time.Now()}, Deleted{1, hush, 1}, Page{1, []string{hush}, hush, true},
		Outcome{Result: Record{1, hush, secret, time.Now()}}, &Record{1, hush, secret, time.Now()}, &Put{hush, []byte(hush), 1},
	}
	hides(t, shown(values...), hush)

	seed := bytes.Repeat([]byte("s"), 32)
	identity, err := IdentityFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Identity: identity, Nodes: URLs("http://a")}
	client, err := NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	chainConfig := ChainConfig{RPCURL: "https://rpc.example/" + hush + "?" + hush, KMSRegistry: strings.Repeat("12", 20)}
	chain, err := NewChain(chainConfig)
	if err != nil {
		t.Fatal(err)
	}
	text := shown(identity, *identity, config, &config, client, chain, chainConfig, &chainConfig, NewKnownNodes())
	hides(t, text, hush)
	hides(t, text, string(seed))
	for info, length := range map[string]int{"wallet": 32, "p384": 48} {
		key, err := hkdf.Key(sha256.New, seed, []byte(seedSalt), info, length)
		if err != nil {
			t.Fatal(err)
		}
		hides(t, text, string(key))
	}
	if !strings.Contains(text, identity.Wallet()) {
		t.Error("the wallet is not shown")
	}
}

func TestNoErrorShowsASecretOrAName(t *testing.T) {
	node := startNode(t)
	client := clientOf(t, nil, node)
	setClock(client)
	v1 := clientOf(t, func(c *Config) { c.AllowV1 = true }, node)
	setClock(v1)
	operations := []Operation{Put{Key: hush, Value: []byte(hush)}, Get{hush}, Delete{hush}, Derive{Path: hush, Context: hush}, List{Prefix: hush, Limit: -1}, Get{hush + "\xff"}}
	try := func() {
		t.Helper()
		for _, c := range []*Client{client, v1} {
			for _, o := range append(c.Batch(ctx, operations...), c.Batch(ctx, operations[1])...) {
				if o.Err != nil {
					hides(t, shown(o.Err, o), hush)
				}
			}
		}
	}
	try()
	node.Rule(on(messagePath, nodetest.Raw("x\r\n\r\n", false)))
	try()
	node.Rule(on(messagePath, nodetest.Raw("", false)))
	try()
	node.Rule(on(messagePath, nodetest.Say(410, "{}")))
	try()
	node.Rule(on("/session", nodetest.Say(404, "{}")))
	client.Close()
	v1.Close()
	try()
	if node.Count("/kms/data") == 0 {
		t.Error("version 1 was not spoken")
	}
}

func TestASecretIsNotWritten(t *testing.T) {
	secret := NewSecret([]byte(hush))
	for _, value := range []any{secret, Record{Value: secret}, map[string]any{"s": secret}} {
		if text, err := json.Marshal(value); err == nil {
			t.Errorf("%s", text)
		}
	}
	var out bytes.Buffer
	if err := gob.NewEncoder(&out).Encode(secret); err == nil {
		t.Errorf("%q", out.String())
	}
}

func TestASecretIsWiped(t *testing.T) {
	data := []byte(hush)
	secret := NewSecret(data)
	if !secret.Equal([]byte(hush)) || secret.Equal([]byte("hush-hus")) || secret.Equal([]byte("hush-husx")) || secret.Len() != 9 {
		t.Error(secret)
	}
	secret.Wipe()
	if !bytes.Equal(data, make([]byte, 9)) || secret.Len() != 9 || secret.Equal([]byte(hush)) {
		t.Error(secret)
	}
	for _, none := range []*Secret{nil, {}} {
		none.Wipe()
		if none.Len() != 0 || none.Bytes() != nil || none.String() != "Secret of 0 bytes" || fmt.Sprint(none) != "Secret of 0 bytes" {
			t.Error(none)
		}
	}
}

func TestRequestsAreWipedAfterUse(t *testing.T) {
	text := joined([][]byte{[]byte("ab")})
	if string(text) != "ab" {
		t.Error(string(text))
	}
	parts := [][]byte{[]byte("ab"), []byte("c"), []byte("d")}
	if text := joined(parts); string(text) != "[ab,c,d]" || cap(text) != len(text) || !reflect.DeepEqual(parts, [][]byte{{0, 0}, {0}, {0}}) {
		t.Error(string(text), cap(text), parts)
	}
}

// ---- kinds -------------------------------------------------------------------------------------------------------

func TestKinds(t *testing.T) {
	all := []Kind{ErrInvalid, ErrRefused, ErrNotFound, ErrUnavailable, ErrTimeout, ErrCanceled, ErrNoSession, ErrOutcomeUnknown, ErrProtocol}
	also := map[Kind]Kind{ErrNotFound: ErrRefused, ErrTimeout: ErrUnavailable}
	for _, of := range all {
		err := fmt.Errorf("wrapped: %w", &Error{Kind: of})
		for _, kind := range all {
			if wanted := kind == of || kind == also[of]; errors.Is(err, kind) != wanted {
				t.Errorf("%v is %v: %v", of, kind, !wanted)
			}
		}
	}
}

func TestErrorsOfASignerOfSomebodyElse(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind Kind
	}{
		{errors.New("no\x1b"), ErrUnavailable}, {ErrProtocol, ErrProtocol}, {fmt.Errorf("x: %w", ErrTimeout), ErrTimeout}, {fmt.Errorf("x: %w", context.Canceled), ErrCanceled},
		{invalid("x"), ErrInvalid},
	} {
		if e := expect(t, asError(c.err, "the identity"), c.kind); strings.ContainsRune(e.Error(), 0x1b) {
			t.Error(e)
		}
	}
}
