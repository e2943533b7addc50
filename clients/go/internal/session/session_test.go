package session

import (
	"bytes"
	"crypto/ecdh"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"nova-kms/clients/go/internal/codec"
	"nova-kms/clients/go/internal/envelope"
)

func bytesOf(t *testing.T, text string) []byte {
	t.Helper()
	data, err := codec.Hex(text)
	if err != nil {
		t.Fatal(text, err)
	}
	return data
}

func ephemeral(t *testing.T, text string) *ecdh.PrivateKey {
	t.Helper()
	key, err := ecdh.X25519().NewPrivateKey(bytesOf(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestWholeSessions(t *testing.T) {
	text, err := os.ReadFile("../../../../spec/vectors/session.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Kind     string
		TeeKey   string `json:"caller_tee_priv"`
		E        string `json:"caller_e_priv"`
		NodeE    string `json:"node_e"`
		Pubkey   string `json:"node_tee_pubkey"`
		Offer    string
		Message  string
		Request  string `json:"request_body"`
		Answer   string `json:"answer_body"`
		Shared   string `json:"shared_secret"`
		Salt     string
		Sid      string
		Messages []struct {
			Seq     json.Number
			Time    json.Number `json:"time_ms"`
			Asked   string      `json:"request_json"`
			Request string
			Said    string `json:"answer_json"`
			Answer  string
		}
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, c := range cases {
		if c.Kind != "app" {
			continue
		}
		opening := newOpening(ephemeral(t, c.E), nil)
		if string(opening.Offer) != c.Offer {
			t.Errorf("%s, not %s", opening.Offer, c.Offer)
		}
		shared, err := Agree(opening.own, bytesOf(t, c.NodeE))
		if err != nil || hex.EncodeToString(shared) != c.Shared {
			t.Errorf("%x, not %s: %v", shared, c.Shared, err)
		}
		if salt := Salt([]byte(c.Message), []byte(c.Request), []byte(c.Answer)); hex.EncodeToString(salt) != c.Salt {
			t.Errorf("%x, not %s", salt, c.Salt)
		}
		own, err := envelope.NewKey(bytesOf(t, c.TeeKey))
		if err != nil {
			t.Fatal(err)
		}
		point, err := envelope.ParsePubkey(bytesOf(t, c.Pubkey))
		if err != nil {
			t.Fatal(err)
		}
		channel, err := envelope.NewChannel(own, point)
		if err != nil {
			t.Fatal(err)
		}
		grant, err := channel.Open([]byte(c.Answer))
		if err != nil {
			t.Fatal(err)
		}
		keys, err := opening.Finish(grant, []byte(c.Message), []byte(c.Request), []byte(c.Answer))
		if err != nil || hex.EncodeToString(keys.SID) != c.Sid {
			t.Fatalf("%v, not %s: %v", keys, c.Sid, err)
		}
		for i, m := range c.Messages {
			seq, _ := m.Seq.Int64()
			ms, _ := m.Time.Int64()
			keys.seq = uint64(seq) - 1
			body, number, err := keys.Seal([]byte(m.Asked), ms)
			if err != nil || hex.EncodeToString(body) != m.Request {
				t.Errorf("message %d: %x, not %s: %v", i, body, m.Request, err)
			}
			if said, err := keys.Open(bytesOf(t, m.Answer), number); err != nil || string(said) != m.Said {
				t.Errorf("message %d: %s, not %s: %v", i, said, m.Said, err)
			}
			seen++
		}
	}
	if seen == 0 {
		t.Error("there are no messages")
	}
}

// pair makes both ends of a session, the keys of the second one the other way round.
func pair(t *testing.T) (caller, node *Keys) {
	t.Helper()
	make := func() *Keys {
		keys, err := newKeys(bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32), bytes.Repeat([]byte{3}, 16), 10, 1)
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	caller, node = make(), make()
	node.c2s, node.s2c = node.s2c, node.c2s
	return caller, node
}

// answer seals an answer with the content of a message.
func answer(node *Keys, content []byte, seq uint64) []byte {
	label := node.label(seq)
	return node.c2s.Seal(label[len(label)-seqSize:len(label):len(label)], iv(seq), content, label)
}

func TestEveryAnswerBelongsToItsMessage(t *testing.T) {
	caller, node := pair(t)
	content := append(append(make([]byte, 8), 0, 0, 0, 2), append([]byte("{}"), make([]byte, 242)...)...)
	good := answer(node, content, 7)
	if said, err := caller.Open(bytes.Clone(good), 7); err != nil || string(said) != "{}" {
		t.Fatalf("%s %v", said, err)
	}
	if said, err := caller.Open(bytes.Clone(good), 8); err == nil {
		t.Errorf("another number: %s", said)
	}
	for i := range good {
		changed := bytes.Clone(good)
		changed[i] ^= 1
		if said, err := caller.Open(changed, 7); err == nil {
			t.Errorf("byte %d: %s", i, said)
		}
	}
	for _, length := range []int{0, 7, 8, 16 + 8, 8 + 255 + 16, len(good) - 1} {
		if said, err := caller.Open(bytes.Clone(good[:length]), 7); err == nil {
			t.Errorf("%d bytes: %s", length, said)
		}
	}
}

func TestPaddingIsZeroAndShortest(t *testing.T) {
	caller, node := pair(t)
	head := func(length uint32) []byte {
		return append(make([]byte, 8), byte(length>>24), byte(length>>16), byte(length>>8), byte(length))
	}
	for _, c := range []struct {
		length uint32
		rest   int
		fits   bool
	}{
		{0, 244, true}, {244, 244, true}, {245, 244, false}, {1<<32 - 1, 244, false}, {244, 500, false}, {245, 500, true}, {500, 500, true},
		{244, 243, false}, {244, 245, false},
	} {
		said, err := caller.Open(answer(node, append(head(c.length), make([]byte, c.rest)...), 1), 1)
		if (err == nil) != c.fits || c.fits && uint32(len(said)) != c.length {
			t.Errorf("%d of %d bytes: %d %v", c.length, c.rest, len(said), err)
		}
	}
	content := append(head(1), make([]byte, 244)...)
	content[255] = 1
	if said, err := caller.Open(answer(node, content, 1), 1); err == nil {
		t.Errorf("padding that is not zero: %s", said)
	}
}

func TestANumberIsUsedOnce(t *testing.T) {
	keys, _ := pair(t)
	keys.seq = maxSeq - 1
	if _, seq, err := keys.Seal(nil, 0); err != nil || seq != maxSeq {
		t.Error(seq, err)
	}
	if _, seq, err := keys.Seal(nil, 0); !errors.Is(err, ErrUsedUp) {
		t.Error(seq, err)
	}
}

func TestWhatIsNoEphemeralKey(t *testing.T) {
	own := ephemeral(t, strings.Repeat("11", 32))
	field := "ed" + strings.Repeat("ff", 30) + "7f" // 2^255 - 19
	for _, text := range []string{
		"", strings.Repeat("09", 31), strings.Repeat("09", 33), field, "ee" + field[2:], "ff" + field[2:], "09" + strings.Repeat("00", 30) + "80",
		strings.Repeat("ff", 32),
		// Of small order (RFC 7748 section 6.1).
		strings.Repeat("00", 32), "01" + strings.Repeat("00", 31), "ec" + field[2:],
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	} {
		if shared, err := Agree(own, bytesOf(t, text)); !codec.IsMalformed(err) {
			t.Errorf("%s: %x %v", text, shared, err)
		}
	}
	for _, text := range []string{"09" + strings.Repeat("00", 31), "eb" + field[2:], "ff" + strings.Repeat("ff", 29) + "fe7f"} {
		if _, err := Agree(own, bytesOf(t, text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestGrants(t *testing.T) {
	e := hex.EncodeToString(ephemeral(t, strings.Repeat("22", 32)).PublicKey().Bytes())
	for name, cases := range map[string]map[string]bool{
		"expires_s":      {"1": true, "0": false, "-1": false, `"1"`: false, "99999999999999999999": true, "null": false},
		"max_operations": {"1": true, "99999999999999999999": true, "0": false, "-1": false, "true": false},
		"suite":          {`"x25519-sha256-aes256gcm"`: true, `"x"`: false, "1": false, "null": false},
		"e":              {`"` + e + `"`: true, `"` + e + `00"`: false, `""`: false, "1": false, `"` + strings.Repeat("0", 64) + `"`: false},
		"sid":            {`"` + strings.Repeat("ab", 16) + `"`: true, `"` + strings.Repeat("ab", 15) + `"`: false, `"` + strings.Repeat("ab", 17) + `"`: false, "1": false},
		"more":           {"1": true, "[{}]": true},
	} {
		for value, fits := range cases {
			members := map[string]string{
				"expires_s": "60", "max_operations": "256", "suite": `"x25519-sha256-aes256gcm"`, "e": `"` + e + `"`, "sid": `"` + strings.Repeat("ab", 16) + `"`,
			}
			members[name] = value
			var parts []string
			for member, text := range members {
				parts = append(parts, `"`+member+`":`+text)
			}
			opening, err := NewOpening([][]byte{make([]byte, 16)})
			if err != nil || !bytes.Contains(opening.Offer, []byte(`"ends":["`+strings.Repeat("00", 16)+`"]`)) {
				t.Fatal(string(opening.Offer), err)
			}
			keys, err := opening.Finish([]byte("{"+strings.Join(parts, ",")+"}"), nil, nil, nil)
			if (err == nil) != fits || err != nil && !codec.IsMalformed(err) {
				t.Errorf("%s is %s: %v %v", name, value, keys, err)
			}
		}
	}
}

func TestAGrantIsNotBelievedBeyondItsLimits(t *testing.T) {
	e := hex.EncodeToString(ephemeral(t, strings.Repeat("22", 32)).PublicKey().Bytes())
	for _, c := range []struct {
		life, operations string
		lifeS            uint64
		most             int
	}{
		{"604800", "256", 604800, 256}, {"604801", "257", 604800, 256}, {strings.Repeat("9", 400), strings.Repeat("9", 400), 604800, 256}, {"1", "1", 1, 1},
	} {
		opening, err := NewOpening(nil)
		if err != nil {
			t.Fatal(err)
		}
		grant := `{"e":"` + e + `","expires_s":` + c.life + `,"max_operations":` + c.operations + `,"sid":"` + strings.Repeat("ab", 16) + `","suite":"` + suite + `"}`
		keys, err := opening.Finish([]byte(grant), nil, nil, nil)
		if err != nil || keys.LifeS != c.lifeS || keys.MaxOperations != c.most {
			t.Errorf("%.20s %.20s: %v %v", c.life, c.operations, keys, err)
		}
	}
}
