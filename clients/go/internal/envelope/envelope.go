// Package envelope has P-384 keys, the channel between two of them, and envelopes (docs/protocol.md section 6).
package envelope

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"

	"nova-kms/clients/go/internal/codec"
)

const (
	scalarSize = 48
	pointSize  = 97
	nonceSize  = 32
	minNonce   = 12
	ivSize     = 12
	tagSize    = 16
	maxCommas  = 16 // of an envelope: between members that who reads it does not know, too
)

// What stands before the point in a SubjectPublicKeyInfo.
var spkiPrefix, _ = hex.DecodeString("3076301006072a8648ce3d020106052b81040022036200")

const badKey = codec.Malformed("not a P-384 public key: it is an uncompressed point of 97 bytes, or its SubjectPublicKeyInfo of 120")

// ParsePubkey returns the point of a teePubkey: exactly the SubjectPublicKeyInfo or the uncompressed point of a key of P-384.
func ParsePubkey(data []byte) ([]byte, error) {
	point := bytes.TrimPrefix(data, spkiPrefix)
	if len(point) != pointSize {
		return nil, badKey
	}
	if _, err := ecdh.P384().NewPublicKey(point); err != nil {
		return nil, badKey
	}
	return bytes.Clone(point), nil
}

// DER returns the SubjectPublicKeyInfo of a point.
func DER(point []byte) []byte { return append(bytes.Clone(spkiPrefix), point...) }

// Key is a P-384 key pair. Any number of goroutines may use it at once.
type Key struct{ private *ecdh.PrivateKey }

// NewKey makes the key of a scalar of 48 bytes, big-endian.
func NewKey(scalar []byte) (*Key, error) {
	if len(scalar) == scalarSize {
		if private, err := ecdh.P384().NewPrivateKey(scalar); err == nil {
			return &Key{private}, nil
		}
	}
	return nil, codec.Malformed("not a P-384 key: it has 48 bytes, and is above 0 and below the order of P-384")
}

// Point returns the public half, uncompressed.
func (k *Key) Point() []byte { return k.private.PublicKey().Bytes() }

// Agree returns the x-coordinate of the agreement with another's key.
func (k *Key) Agree(point []byte) ([]byte, error) {
	other, err := ecdh.P384().NewPublicKey(point)
	if err != nil {
		return nil, badKey
	}
	return k.private.ECDH(other)
}

// Channel seals envelopes for one other key, and opens those that it sealed. Any number of goroutines may use it at once.
type Channel struct {
	own   string
	other []byte
	aead  cipher.AEAD
}

// NewChannel makes the channel to the key of a point.
func NewChannel(own *Key, other []byte) (*Channel, error) {
	shared, err := own.Agree(other)
	if err != nil {
		return nil, badKey
	}
	defer clear(shared)
	key, err := hkdf.Key(sha256.New, shared, nil, "encryption data", 32)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Channel{hex.EncodeToString(DER(own.Point())), bytes.Clone(other), aead}, nil
}

// Seal returns the envelope of a plaintext, as JSON.
func (c *Channel) Seal(plain []byte) []byte {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce) // never fails
	return c.seal(nonce, plain)
}

func (c *Channel) seal(nonce, plain []byte) []byte {
	return Write(c.own, nonce, c.aead.Seal(nil, nonce[:ivSize], plain, nil))
}

// Open returns what the other key sealed, and a Malformed for everything else. It takes body over.
func (c *Channel) Open(body []byte) ([]byte, error) {
	nonce, sealed, err := Read(body, c.other)
	if err != nil {
		return nil, err
	}
	plain, err := c.aead.Open(sealed[:0], nonce[:ivSize], sealed, nil)
	if err != nil {
		return nil, codec.Malformed("does not decrypt")
	}
	return plain, nil
}

// Write returns an envelope as JSON. sender is its teePubkey in hexadecimal digits.
func Write(sender string, nonce, sealed []byte) []byte {
	return codec.Encode(codec.Members{
		"sender_tee_pubkey": sender, "nonce": hex.EncodeToString(nonce), "encrypted_data": hex.EncodeToString(sealed),
	})
}

// Read returns nonce and ciphertext of an envelope that the key of a point has sealed. It takes body over.
func Read(body, sender []byte) (nonce, sealed []byte, err error) {
	// Before it is parsed: it may be as long as a listing, and in version 1 anybody on the way can make it.
	if bytes.Count(body, []byte(",")) > maxCommas {
		return nil, nil, codec.Malformed("not an envelope")
	}
	envelope, err := codec.ParseObject(body)
	if err != nil {
		return nil, nil, err
	}
	var members [3][]byte
	for i, name := range []string{"sender_tee_pubkey", "nonce", "encrypted_data"} {
		text, _ := envelope.Text(name)
		if members[i], err = codec.Hex(text); err != nil {
			return nil, nil, err
		}
	}
	point, err := ParsePubkey(members[0])
	if err != nil {
		return nil, nil, err
	}
	if subtle.ConstantTimeCompare(point, sender) != 1 {
		return nil, nil, codec.Malformed("sealed by another key")
	}
	if len(members[1]) < minNonce || len(members[2]) < tagSize {
		return nil, nil, codec.Malformed("not an envelope")
	}
	return members[1], members[2], nil
}
