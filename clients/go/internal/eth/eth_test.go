package eth

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"nova-kms/clients/go/internal/codec"
)

// vectors reads known answers of the project.
func vectors[T any](t *testing.T, name string) []T {
	t.Helper()
	text, err := os.ReadFile("../../../../spec/vectors/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var cases []T
	if err := json.Unmarshal(text, &cases); err != nil || len(cases) == 0 {
		t.Fatal(len(cases), err)
	}
	return cases
}

func bytesOf(t *testing.T, text string) []byte {
	t.Helper()
	data, err := codec.Hex(text)
	if err != nil {
		t.Fatal(text, err)
	}
	return data
}

func TestKeccak256(t *testing.T) {
	for _, c := range vectors[struct{ Data, Hash string }](t, "keccak256.json") {
		if hash := hex.EncodeToString(Keccak256(bytesOf(t, c.Data))); hash != c.Hash {
			t.Errorf("%s: %s, not %s", c.Data, hash, c.Hash)
		}
	}
}

func TestSignatures(t *testing.T) {
	for _, c := range vectors[struct {
		Priv, Address, Message, Signature string
		V27                               string `json:"signature_v27"`
		HighS                             string `json:"high_s"`
	}](t, "eip191.json") {
		wallet, err := NewWallet(bytesOf(t, c.Priv))
		if err != nil || wallet.Address != c.Address {
			t.Fatal(wallet, err)
		}
		message := []byte(c.Message)
		if signature := wallet.Sign(message); signature != c.V27 {
			t.Errorf("%s, not %s", signature, c.V27)
		}
		for _, signature := range []string{c.Signature, c.V27, strings.ToUpper(c.Signature[2:])} {
			if !IsSignedBy(c.Address, message, signature) || IsSignedBy(c.Address, append(message, 'x'), signature) {
				t.Error(signature)
			}
		}
		if signer := Signer(message, c.HighS); signer != "" {
			t.Errorf("a high s is taken: %s", signer)
		}
		wallet.Wipe()
		if !wallet.key.Key.IsZero() {
			t.Error("the key is still there")
		}
	}
}

func TestWhatIsNoSignature(t *testing.T) {
	const order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
	zero, ones := strings.Repeat("00", 32), strings.Repeat("11", 32)
	for _, text := range []string{
		"", "0x", strings.Repeat("zz", 65), ones + ones, ones + ones + "1b1b", zero + ones + "00", ones + zero + "00", order + ones + "1b",
		ones + order + "1b", ones + ones + "02", ones + ones + "1a", ones + ones + "1d", strings.Repeat("ff", 65),
	} {
		if signer := Signer([]byte("m"), text); signer != "" {
			t.Errorf("%s: %s", text, signer)
		}
	}
	if IsSignedBy("", []byte("m"), "") {
		t.Error("nothing is signed by nobody")
	}
}

func TestWhatIsNoKey(t *testing.T) {
	order := bytesOf(t, "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
	for _, key := range [][]byte{nil, make([]byte, 32), make([]byte, 31), make([]byte, 33), order, bytesOf(t, strings.Repeat("ff", 32))} {
		if wallet, err := NewWallet(key); err == nil {
			t.Errorf("%x: %s", key, wallet.Address)
		}
	}
	order[31]--
	if _, err := NewWallet(order); err != nil {
		t.Error("the largest key:", err)
	}
}

func TestAddresses(t *testing.T) {
	digits := strings.Repeat("Ab", 20)
	for _, text := range []string{digits, "0x" + digits} {
		if address, err := ParseAddress(text); err != nil || address != "0x"+strings.ToLower(digits) {
			t.Error(text, address, err)
		}
	}
	for _, text := range []string{"", "0x", digits[1:], digits + "00", "0x0x" + digits[4:], " " + digits, digits[:38] + "zz"} {
		if address, err := ParseAddress(text); err == nil {
			t.Error(text, address)
		}
	}
}

func TestRegistries(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range vectors[struct {
		Signature, Calldata, Data string
		Args                      []string
		Result                    any
	}](t, "abi.json") {
		name, _, _ := strings.Cut(c.Signature, "(")
		data := bytesOf(t, c.Data)
		var got, wanted any
		var err error
		list, _ := c.Result.([]any)
		switch name {
		case "getInstance", "getInstanceByWallet":
			var i Instance
			i, err = DecodeInstance(data)
			got = []any{
				number(i.ID), number(i.AppID), number(i.VersionID), i.URL, "0x" + hex.EncodeToString(i.Pubkey), i.Wallet, i.ZkVerified,
				number(uint64(i.Status)),
			}
			wanted = []any{list[0], list[1], list[2], list[4], list[5], list[6], list[7], list[8]}
		case "getVersion":
			var v Version
			v, err = DecodeVersion(data)
			got, wanted = []any{number(v.ID), number(uint64(v.Status))}, []any{list[0], list[7]}
		case "getActiveInstances":
			var addresses []string
			addresses, err = DecodeAddresses(data)
			got, wanted = addresses, c.Result
		case "kmsAppId":
			var id uint64
			id, err = DecodeNumber(data)
			got, wanted = number(id), c.Result
		case "operatorAt":
			got, err = DecodeAddress(data)
			wanted = c.Result
		default:
			continue
		}
		seen[name] = true
		if err != nil || text(got) != text(wanted) {
			t.Errorf("%s: %s, not %s: %v", c.Signature, text(got), text(wanted), err)
		}
		if data := Call(c.Signature, arguments(t, c.Args)...); data != c.Calldata {
			t.Errorf("%s: %s, not %s", c.Signature, data, c.Calldata)
		}
	}
	if len(seen) != 6 {
		t.Error(seen)
	}
}

func number(value uint64) string { return strconv.FormatUint(value, 10) }

func text(value any) string {
	data, _ := json.Marshal(value)
	return string(data)
}

func arguments(t *testing.T, texts []string) []any {
	var list []any
	for _, text := range texts {
		if strings.HasPrefix(text, "0x") {
			list = append(list, text)
			continue
		}
		value, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, value)
	}
	return list
}

// words makes data of words.
func words(values ...uint64) []byte {
	var data []byte
	for _, value := range values {
		data = append(data, word(value)...)
	}
	return data
}

func TestListsHaveAThousandAddresses(t *testing.T) {
	for count, fits := range map[uint64]bool{0: true, MaxMembers: true, MaxMembers + 1: false} {
		addresses, err := DecodeAddresses(append(words(32, count), make([]byte, 32*count)...))
		if (err == nil) != fits || fits && uint64(len(addresses)) != count {
			t.Errorf("%d: %d %v", count, len(addresses), err)
		}
	}
}

func TestWhatIsNoData(t *testing.T) {
	for _, data := range [][]byte{
		nil, make([]byte, 31), make([]byte, 33), words(0), words(32), words(64, 0), words(32, 1), words(32, 1<<63), words(1<<63, 0), words(1<<64-1, 0),
		append(words(32, 1), bytesOf(t, strings.Repeat("ff", 32))...), words(31, 0), words(1, 0),
	} {
		if addresses, err := DecodeAddresses(data); err == nil {
			t.Errorf("%x: %v", data, addresses)
		}
		if instance, err := DecodeInstance(data); err == nil {
			t.Errorf("%x: %v", data, instance)
		}
		if version, err := DecodeVersion(data); err == nil {
			t.Errorf("%x: %v", data, version)
		}
	}
	for _, data := range [][]byte{nil, words(1, 1), bytesOf(t, strings.Repeat("01", 32))} {
		if value, err := DecodeNumber(data); err == nil {
			t.Errorf("%x: %v", data, value)
		}
		if value, err := DecodeAddress(data); err == nil {
			t.Errorf("%x: %v", data, value)
		}
	}
}

// FuzzDecode looks for data that makes a decoder panic.
func FuzzDecode(f *testing.F) {
	f.Add(words(32, 1, 2, 3, 4, 320, 352, 6, 1, 0, 5, 0, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, err := range []error{
			second(DecodeInstance(data)), second(DecodeVersion(data)), second(DecodeAddresses(data)), second(DecodeNumber(data)), second(DecodeAddress(data)),
		} {
			if err != nil && !codec.IsMalformed(err) {
				t.Fatal(err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }
