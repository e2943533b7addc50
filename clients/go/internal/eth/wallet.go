// Package eth has wallets, their EIP-191 signatures, and the calls of the registries on the chain.
package eth

import (
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"golang.org/x/crypto/sha3"

	"nova-kms/clients/go/internal/codec"
)

const (
	addressSize   = 20
	keySize       = 32
	signatureSize = 65
)

// Keccak256 hashes data as Ethereum does.
func Keccak256(data ...[]byte) []byte {
	h := sha3.NewLegacyKeccak256()
	for _, part := range data {
		h.Write(part)
	}
	return h.Sum(nil)
}

// ParseAddress returns the canonical form of an address: 0x and 40 lower-case digits.
func ParseAddress(text string) (string, error) {
	address, err := codec.HexOf(text, addressSize)
	if err != nil {
		return "", codec.Malformed("not an address: it has 40 hexadecimal digits")
	}
	return "0x" + hex.EncodeToString(address), nil
}

func digest(message []byte) []byte {
	return Keccak256([]byte("\x19Ethereum Signed Message:\n"+strconv.Itoa(len(message))), message)
}

func addressOf(key *secp256k1.PublicKey) string {
	hash := Keccak256(key.SerializeUncompressed()[1:])
	return "0x" + hex.EncodeToString(hash[len(hash)-addressSize:])
}

// Wallet is a secp256k1 key that signs. Any number of goroutines may use it at once, but not while it is wiped.
type Wallet struct {
	key *secp256k1.PrivateKey
	// Address is the wallet in canonical form.
	Address string
}

// NewWallet makes the wallet of a key of 32 bytes, big-endian.
func NewWallet(key []byte) (*Wallet, error) {
	var scalar secp256k1.ModNScalar
	if len(key) != keySize || scalar.SetByteSlice(key) || scalar.IsZero() {
		return nil, codec.Malformed("not a wallet's key: it has 32 bytes, and is above 0 and below the order of secp256k1")
	}
	private := secp256k1.NewPrivateKey(&scalar)
	scalar.Zero()
	return &Wallet{private, addressOf(private.PubKey())}, nil
}

// Sign returns the EIP-191 signature (RFC 6979, low s): 0x and 130 digits, v of 27 or 28.
func (w *Wallet) Sign(message []byte) string {
	// The library writes v, r, s.
	compact := ecdsa.SignCompact(w.key, digest(message), false)
	return "0x" + hex.EncodeToString(append(compact[1:], compact[0]))
}

// Wipe overwrites the key. The wallet cannot sign afterwards.
func (w *Wallet) Wipe() { w.key.Zero() }

// Signer returns the wallet that signed a message, and "" where the signature is none: r and s must be below the order, s in its lower
// half, v one of 0, 1, 27, 28.
func Signer(message []byte, signature string) string {
	raw, err := codec.HexOf(signature, signatureSize)
	if err != nil {
		return ""
	}
	v := raw[64]
	if v == 27 || v == 28 {
		v -= 27
	}
	var r, s secp256k1.ModNScalar
	if v > 1 || r.SetByteSlice(raw[:32]) || s.SetByteSlice(raw[32:64]) || r.IsZero() || s.IsZero() || s.IsOverHalfOrder() {
		return ""
	}
	key, _, err := ecdsa.RecoverCompact(append([]byte{27 + v}, raw[:64]...), digest(message))
	if err != nil {
		return ""
	}
	return addressOf(key)
}

// IsSignedBy says whether an address, in canonical form, signed a message.
func IsSignedBy(address string, message []byte, signature string) bool {
	signer := Signer(message, signature)
	return signer != "" && subtle.ConstantTimeCompare([]byte(signer), []byte(address)) == 1
}

// word is a number as contracts have it: 32 bytes, big-endian.
func word(number uint64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, wordSize-8, wordSize), number)
}
