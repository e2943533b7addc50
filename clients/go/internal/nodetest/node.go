// Package nodetest has a node for tests: it speaks sessions as docs/protocol.md section 15 says, keeps records in memory, and lies where it is told to.
package nodetest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"nova-kms/clients/go/internal/envelope"
	"nova-kms/clients/go/internal/eth"
	"nova-kms/clients/go/internal/session"
)

// Node is a node on loopback.
type Node struct {
	URL    string
	Wallet string
	Point  []byte

	server  *httptest.Server
	wallet  *eth.Wallet
	channel *envelope.Channel

	mutex    sync.Mutex
	rule     func(path string) http.HandlerFunc
	grant    map[string]any
	result   func(asked map[string]any) map[string]any
	sessions map[string][2]cipher.AEAD
	records  map[string]string
	paths    []string
	seqs     []uint64
	ends     [][]string
}

// Start starts a node that an application with this P-384 key may call. Close it when done.
func Start(appPubkey []byte) *Node {
	key, walletKey := secret(48), secret(32)
	key[0], walletKey[0] = 0, 0 // below the orders
	own, err := envelope.NewKey(key)
	must(err)
	wallet, err := eth.NewWallet(walletKey)
	must(err)
	caller, err := envelope.ParsePubkey(appPubkey)
	must(err)
	channel, err := envelope.NewChannel(own, caller)
	must(err)
	n := &Node{
		Wallet: wallet.Address, Point: own.Point(), wallet: wallet, channel: channel,
		sessions: map[string][2]cipher.AEAD{}, records: map[string]string{}, grant: map[string]any{},
	}
	n.server = httptest.NewServer(n)
	n.URL = n.server.URL
	return n
}

// Close stops it, and breaks what is under way.
func (n *Node) Close() {
	n.server.CloseClientConnections()
	n.server.Close()
}

// Rule has a function say how a request to a path is answered from now on; nil, from it or instead of it: honestly.
func (n *Node) Rule(rule func(path string) http.HandlerFunc) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.rule = rule
}

// Grant changes members of the answers to openings.
func (n *Node) Grant(members map[string]any) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.grant = members
}

// Result has a function say what comes of operations, in sealed answers; nil, from it or instead of it: what is true.
func (n *Node) Result(result func(asked map[string]any) map[string]any) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.result = result
}

// Forget ends all sessions.
func (n *Node) Forget() {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	clear(n.sessions)
}

// Count says how many requests there were to a path.
func (n *Node) Count(path string) int {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	count := 0
	for _, seen := range n.paths {
		if seen == path {
			count++
		}
	}
	return count
}

// Seqs returns the numbers of the messages that came, sorted.
func (n *Node) Seqs() []uint64 {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return slices.Sorted(slices.Values(n.seqs))
}

// Ends returns the sids that the last opening ended.
func (n *Node) Ends() []string {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return n.ends[len(n.ends)-1]
}

// Say answers with a status, a body and headers ("Name: value").
func Say(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, header := range headers {
			name, value, _ := strings.Cut(header, ": ")
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// Raw answers with these bytes, whatever they are, and closes the connection unless it is kept, which waits for its end.
func Raw(answer string, keep bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		connection, _, err := w.(http.Hijacker).Hijack()
		must(err)
		defer connection.Close()
		io.WriteString(connection, answer)
		if keep {
			io.Copy(io.Discard, connection)
		}
	}
}

// ServeHTTP answers a request.
func (n *Node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	n.mutex.Lock()
	n.paths = append(n.paths, r.URL.Path)
	rule := n.rule
	n.mutex.Unlock()
	if rule != nil {
		if answer := rule(r.URL.Path); answer != nil {
			answer(w, r)
			return
		}
	}
	switch r.URL.Path {
	case "/status":
		reply(w, map[string]any{"node": map[string]any{"tee_wallet": n.Wallet, "tee_pubkey": hex.EncodeToString(envelope.DER(n.Point))}})
	case "/nonce":
		reply(w, map[string]any{"nonce": hex.EncodeToString(secret(16))})
	case "/session":
		n.open(w, r.Header, body)
	case "/session/message":
		n.message(w, body)
	default:
		Say(http.StatusNotFound, "{}")(w, r)
	}
}

func reply(w http.ResponseWriter, value any) {
	must(json.NewEncoder(w).Encode(value))
}

// ---- sessions ----------------------------------------------------------------------------------------------------

func (n *Node) open(w http.ResponseWriter, headers http.Header, body []byte) {
	var offer struct {
		E    string
		Ends []string
	}
	plain, err := n.channel.Open(bytes.Clone(body))
	must(err)
	must(json.Unmarshal(plain, &offer))
	own, err := ecdh.X25519().GenerateKey(rand.Reader)
	must(err)
	sid := secret(16)
	n.mutex.Lock()
	n.ends = append(n.ends, offer.Ends)
	grant := map[string]any{
		"e": hex.EncodeToString(own.PublicKey().Bytes()), "expires_s": 3600, "max_operations": 256, "sid": hex.EncodeToString(sid),
		"suite": "x25519-sha256-aes256gcm",
	}
	for name, value := range n.grant {
		grant[name] = value
	}
	n.mutex.Unlock()
	text, err := json.Marshal(grant)
	must(err)
	answer := n.channel.Seal(text)
	signed := fmt.Sprintf("NovaKMS:AppSession:%s:%s:%s:%x", headers.Get("X-App-Nonce"), n.Wallet, headers.Get("X-App-Timestamp"), sha256.Sum256(body))
	if eth.Signer([]byte(signed), headers.Get("X-App-Signature")) != headers.Get("X-App-Wallet") {
		Say(http.StatusForbidden, `{"code":"unauthorized","message":"another wallet"}`)(w, nil)
		return
	}
	e, err := hex.DecodeString(offer.E)
	must(err)
	shared, err := session.Agree(own, e)
	must(err)
	salt := session.Salt([]byte(signed), body, answer)
	n.mutex.Lock()
	n.sessions[string(sid)] = [2]cipher.AEAD{keyOf(shared, salt, "c2s"), keyOf(shared, salt, "s2c")}
	n.mutex.Unlock()
	said := fmt.Sprintf("NovaKMS:SessionAnswer:%s:%s:%x", headers.Get("X-App-Signature"), n.Wallet, sha256.Sum256(answer))
	w.Header().Set("X-KMS-Session-Signature", n.wallet.Sign([]byte(said)))
	w.Write(answer)
}

func keyOf(shared, salt []byte, direction string) cipher.AEAD {
	key, err := hkdf.Key(sha256.New, shared, salt, "nova-kms session "+direction, 32)
	must(err)
	block, err := aes.NewCipher(key)
	must(err)
	aead, err := cipher.NewGCM(block)
	must(err)
	return aead
}

func (n *Node) message(w http.ResponseWriter, body []byte) {
	sid, seq := body[:16], body[16:24]
	n.mutex.Lock()
	defer n.mutex.Unlock()
	keys, ok := n.sessions[string(sid)]
	if !ok {
		Say(http.StatusGone, `{"code":"session_unknown","message":"x"}`)(w, nil)
		return
	}
	n.seqs = append(n.seqs, binary.BigEndian.Uint64(seq))
	label := append([]byte("nova-kms"), body[:24]...)
	iv := append(make([]byte, 4), seq...)
	plain, err := keys[0].Open(nil, iv, body[24:], label)
	must(err)
	text := plain[12 : 12+binary.BigEndian.Uint32(plain[8:])]
	var answer any
	if text[0] == '[' {
		var asked []map[string]any
		must(json.Unmarshal(text, &asked))
		results := []any{}
		for _, operation := range asked {
			results = append(results, n.resultOf(operation))
		}
		answer = results
	} else {
		var asked map[string]any
		must(json.Unmarshal(text, &asked))
		answer = n.resultOf(asked)
	}
	said, err := json.Marshal(answer)
	must(err)
	content := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixMilli()))
	content = append(binary.BigEndian.AppendUint32(content, uint32(len(said))), said...)
	content = append(content, make([]byte, (256-len(content)%256)%256)...)
	w.Write(keys[1].Seal(bytes.Clone(seq), iv, content, label))
}

// ---- operations --------------------------------------------------------------------------------------------------

func (n *Node) resultOf(asked map[string]any) map[string]any {
	if n.result != nil {
		if result := n.result(asked); result != nil {
			return result
		}
	}
	key, _ := asked["key"].(string)
	value, there := n.records[key]
	switch asked["op"] {
	case "derive":
		length := int(asked["length"].(float64))
		return result("path", asked["path"], "length", length, "key", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("A"), length)))
	case "put":
		n.records[key] = asked["value"].(string)
		return result("key", key, "updated_at_ms", 1000, "copies", 1)
	case "list":
		prefix, _ := asked["prefix"].(string)
		keys := []string{}
		for name := range n.records {
			if strings.HasPrefix(name, prefix) {
				keys = append(keys, name)
			}
		}
		slices.Sort(keys)
		return result("keys", keys, "count", len(keys))
	}
	if !there {
		return map[string]any{"status": 404, "code": "not_found", "message": "no such record"}
	}
	if asked["op"] == "delete" {
		delete(n.records, key)
		return result("key", key, "deleted", true)
	}
	return result("key", key, "value", value, "updated_at_ms", 1000)
}

func result(pairs ...any) map[string]any {
	members := map[string]any{"status": 200, "app_id": 7}
	for i := 0; i < len(pairs); i += 2 {
		members[pairs[i].(string)] = pairs[i+1]
	}
	return members
}

func secret(length int) []byte {
	data := make([]byte, length)
	rand.Read(data) // never fails
	return data
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
