package envelope

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"nova-kms/clients/go/internal/codec"
	"nova-kms/clients/go/internal/eth"
)

func read(t *testing.T, name string, cases any) {
	t.Helper()
	text, err := os.ReadFile("../../../../spec/vectors/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, cases); err != nil {
		t.Fatal(err)
	}
}

func bytesOf(t *testing.T, text string) []byte {
	t.Helper()
	data, err := codec.Hex(text)
	if err != nil {
		t.Fatal(text, err)
	}
	return data
}

func keyOf(t *testing.T, text string) *Key {
	t.Helper()
	key, err := NewKey(bytesOf(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func channelOf(t *testing.T, own *Key, other []byte) *Channel {
	t.Helper()
	channel, err := NewChannel(own, other)
	if err != nil {
		t.Fatal(err)
	}
	return channel
}

type sealed struct {
	Sender string `json:"sender_tee_pubkey"`
	Nonce  string `json:"nonce"`
	Data   string `json:"encrypted_data"`
}

func TestKnownAnswers(t *testing.T) {
	var cases []struct {
		Sender    string `json:"sender_priv"`
		Receiver  string `json:"receiver_priv"`
		Pubkey    string `json:"receiver_tee_pubkey"`
		Shared    string `json:"shared_secret"`
		Plaintext string
		Envelope  sealed
	}
	read(t, "envelope.json", &cases)
	for _, c := range cases {
		sender, receiver := keyOf(t, c.Sender), keyOf(t, c.Receiver)
		if pubkey := hex.EncodeToString(DER(receiver.Point())); pubkey != c.Pubkey {
			t.Errorf("%s, not %s", pubkey, c.Pubkey)
		}
		if shared, err := sender.Agree(receiver.Point()); err != nil || hex.EncodeToString(shared) != c.Shared {
			t.Errorf("%x, not %s: %v", shared, c.Shared, err)
		}
		body := channelOf(t, sender, receiver.Point()).seal(bytesOf(t, c.Envelope.Nonce), []byte(c.Plaintext))
		var made sealed
		if err := json.Unmarshal(body, &made); err != nil || made != c.Envelope {
			t.Errorf("%s, not %v: %v", body, c.Envelope, err)
		}
		if plain, err := channelOf(t, receiver, sender.Point()).Open(body); err != nil || string(plain) != c.Plaintext {
			t.Errorf("%s, not %s: %v", plain, c.Plaintext, err)
		}
	}
}

func TestWholeExchanges(t *testing.T) {
	var cases []struct {
		Caller    string
		Wallet    string `json:"caller_wallet"`
		WalletKey string `json:"caller_wallet_priv"`
		TeeKey    string `json:"caller_tee_priv"`
		Message   string
		Signature string
		Node      string `json:"node_wallet"`
		Pubkey    string `json:"node_tee_pubkey"`
		Signed    string `json:"response_message"`
		Answer    string `json:"response_signature"`
		Reply     string
		Body      string `json:"reply_body"`
	}
	read(t, "exchange.json", &cases)
	seen := 0
	for _, c := range cases {
		if c.Caller != "app" {
			continue
		}
		seen++
		wallet, err := eth.NewWallet(bytesOf(t, c.WalletKey))
		if err != nil || wallet.Address != c.Wallet || wallet.Sign([]byte(c.Message)) != c.Signature {
			t.Error(wallet, err)
		}
		if !eth.IsSignedBy(c.Node, []byte(c.Signed), c.Answer) {
			t.Error(c.Signed)
		}
		point, err := ParsePubkey(bytesOf(t, c.Pubkey))
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := channelOf(t, keyOf(t, c.TeeKey), point).Open([]byte(c.Body)); err != nil || string(plain) != c.Reply {
			t.Errorf("%s, not %s: %v", plain, c.Reply, err)
		}
	}
	if seen < 4 {
		t.Error(seen)
	}
}

func TestWhatIsNoKey(t *testing.T) {
	const order = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973"
	for _, scalar := range []string{"", strings.Repeat("00", 48), strings.Repeat("01", 47), strings.Repeat("01", 49), order, strings.Repeat("ff", 48)} {
		if key, err := NewKey(bytesOf(t, scalar)); err == nil {
			t.Errorf("%s: %v", scalar, key)
		}
	}
	point := keyOf(t, strings.Repeat("01", 48)).Point()
	off := bytes.Clone(point)
	off[96] ^= 1
	for _, data := range [][]byte{
		nil, {0}, {4}, point[1:], append(bytes.Clone(point), 0), off, DER(off), DER(DER(point)), append(DER(point), 0), append([]byte{5}, point[1:]...),
		append([]byte{2 + point[96]&1}, point[1:49]...), append([]byte{4}, make([]byte, 96)...),
	} {
		if parsed, err := ParsePubkey(data); err == nil {
			t.Errorf("%x: %x", data, parsed)
		}
	}
	for _, data := range [][]byte{point, DER(point)} {
		if parsed, err := ParsePubkey(data); err != nil || !bytes.Equal(parsed, point) {
			t.Errorf("%x: %x %v", data, parsed, err)
		}
	}
}

func TestWhatIsNoEnvelope(t *testing.T) {
	own, other, third := keyOf(t, strings.Repeat("01", 48)), keyOf(t, strings.Repeat("02", 48)), keyOf(t, strings.Repeat("03", 48))
	channel := channelOf(t, own, other.Point())
	good := channelOf(t, other, own.Point()).Seal([]byte("{}"))
	if plain, err := channel.Open(bytes.Clone(good)); err != nil || string(plain) != "{}" {
		t.Fatalf("%s %v", plain, err)
	}
	for i := range good {
		changed := bytes.Clone(good)
		changed[i] ^= 1
		if plain, err := channel.Open(changed); err == nil && string(plain) != "{}" {
			t.Errorf("byte %d: %s", i, plain)
		}
	}
	name := hex.EncodeToString(DER(other.Point()))
	for _, body := range [][]byte{
		nil, []byte("[]"), []byte("{}"), channelOf(t, third, own.Point()).Seal([]byte("{}")), channelOf(t, own, other.Point()).Seal([]byte("{}")),
		Write(name, make([]byte, 11), make([]byte, 16)), Write(name, make([]byte, 32), make([]byte, 15)), Write(name, make([]byte, 32), make([]byte, 16)),
		Write("", make([]byte, 32), make([]byte, 16)), Write("zz", make([]byte, 32), make([]byte, 16)),
	} {
		if plain, err := channel.Open(body); !codec.IsMalformed(err) {
			t.Errorf("%s: %s %v", body, plain, err)
		}
	}
}

func TestAnEnvelopeHasFewMembers(t *testing.T) {
	own, other := keyOf(t, strings.Repeat("01", 48)), keyOf(t, strings.Repeat("02", 48))
	good := channelOf(t, other, own.Point()).Seal([]byte("{}"))
	for more, fits := range map[int]bool{0: true, maxCommas - 2: true, maxCommas - 1: false} {
		var members []string
		for i := range more {
			members = append(members, fmt.Sprintf(`"m%d":1,`, i))
		}
		body := "{" + strings.Join(members, "") + string(good[1:])
		if _, err := channelOf(t, own, other.Point()).Open([]byte(body)); (err == nil) != fits {
			t.Errorf("%d more: %v", more, err)
		}
	}
}
