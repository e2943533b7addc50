// Package session has the key schedule and the messages of a session (docs/protocol.md section 15). It has no network and no clock.
package session

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"sync"

	"nova-kms/clients/go/internal/codec"
)

const (
	suite = "x25519-sha256-aes256gcm"
	// MaxEnds is how many sessions an opening ends.
	MaxEnds = 8

	sidSize  = 16
	keySize  = 32
	tagSize  = 16
	unit     = 256 // a plaintext is a multiple of it
	seqSize  = 8
	headSize = 12 // before the JSON of a message: time and length
	maxSeq   = 1 << 32
	maxLifeS = 604800 // of a session, in seconds, whatever a node grants

	// MaxOperations is how many operations a message has, whatever a node grants.
	MaxOperations = 256
)

// ErrUsedUp means that every number of a session was used.
var ErrUsedUp = errors.New("the session is used up")

// The order of the field of X25519, little-endian, from its second byte to its last one but one; and its ends.
const (
	fieldFirst, fieldMiddle, fieldLast = 0xed, 0xff, 0x7f
)

// isShortest says whether an X25519 key is below 2^255 - 19.
func isShortest(key []byte) bool {
	if key[31] != fieldLast {
		return key[31] < fieldLast
	}
	for _, b := range key[1:31] {
		if b != fieldMiddle {
			return true
		}
	}
	return key[0] < fieldFirst
}

// Agree is X25519 with a key in its shortest spelling; any other, and an agreement on zero, is a Malformed.
func Agree(own *ecdh.PrivateKey, other []byte) ([]byte, error) {
	const bad = codec.Malformed("not an ephemeral key")
	if len(other) != keySize || !isShortest(other) {
		return nil, bad
	}
	key, err := ecdh.X25519().NewPublicKey(other)
	if err != nil {
		return nil, bad
	}
	shared, err := own.ECDH(key) // fails for what agrees on zero
	if err != nil {
		return nil, bad
	}
	return shared, nil
}

// Salt binds the keys of a session to one exchange.
func Salt(signedText, requestBody, answerBody []byte) []byte {
	h := sha256.New()
	for _, part := range [][]byte{signedText, requestBody, answerBody} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return h.Sum(nil)
}

// Opening is a caller's half of an opening.
type Opening struct {
	own *ecdh.PrivateKey
	// Offer is the JSON that asks for a session.
	Offer []byte
}

// NewOpening makes an ephemeral key. ends are the sids of sessions that were given up, at most MaxEnds.
func NewOpening(ends [][]byte) (*Opening, error) {
	own, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return newOpening(own, ends), nil
}

func newOpening(own *ecdh.PrivateKey, ends [][]byte) *Opening {
	offer := codec.Members{"e": hex.EncodeToString(own.PublicKey().Bytes()), "op": "session", "suite": suite}
	if len(ends) > 0 {
		texts := make([]string, len(ends))
		for i, sid := range ends {
			texts[i] = hex.EncodeToString(sid)
		}
		offer["ends"] = texts
	}
	return &Opening{own, codec.Encode(offer)}
}

// Finish returns the session that an answer grants, whose signature and sender were verified; a Malformed where it grants none. grant is
// the answer's plaintext, which Finish takes over; the others are the texts that the keys are bound to.
func (o *Opening) Finish(grant, signedText, requestBody, answerBody []byte) (*Keys, error) {
	members, err := codec.ParseObject(grant)
	if err != nil {
		return nil, err
	}
	if named, _ := members.Text("suite"); named != suite {
		return nil, codec.Malformed("another suite")
	}
	life, hasLife := members.Count("expires_s", maxLifeS)
	operations, hasOperations := members.Count("max_operations", MaxOperations)
	if !hasLife || life == 0 || !hasOperations || operations == 0 {
		return nil, codec.Malformed("expires_s or max_operations is no number above 0")
	}
	textE, _ := members.Text("e")
	textSid, _ := members.Text("sid")
	e, err := codec.HexOf(textE, keySize)
	if err != nil {
		return nil, err
	}
	sid, err := codec.HexOf(textSid, sidSize)
	if err != nil {
		return nil, err
	}
	shared, err := Agree(o.own, e)
	if err != nil {
		return nil, err
	}
	defer clear(shared)
	return newKeys(shared, Salt(signedText, requestBody, answerBody), sid, life, operations)
}

// Keys are the keys of a session, and its next number. Any number of goroutines may use them at once.
type Keys struct {
	// SID names the session.
	SID []byte
	// LifeS is how long the node keeps it, in seconds.
	LifeS uint64
	// MaxOperations is how many operations a message may have.
	MaxOperations int

	c2s, s2c cipher.AEAD
	mutex    sync.Mutex
	seq      uint64
}

func newKeys(shared, salt, sid []byte, lifeS, operations uint64) (*Keys, error) {
	prk, err := hkdf.Extract(sha256.New, shared, salt)
	if err != nil {
		return nil, err
	}
	defer clear(prk)
	keys := &Keys{SID: sid, LifeS: lifeS, MaxOperations: int(operations)}
	if keys.c2s, err = expand(prk, "nova-kms session c2s"); err != nil {
		return nil, err
	}
	keys.s2c, err = expand(prk, "nova-kms session s2c")
	return keys, err
}

func expand(prk []byte, info string) (cipher.AEAD, error) {
	key, err := hkdf.Expand(sha256.New, prk, info, keySize)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (k *Keys) next() (uint64, error) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if k.seq >= maxSeq {
		return 0, ErrUsedUp
	}
	k.seq++
	return k.seq, nil
}

func iv(seq uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 4, 12), seq) }

// label returns the additional data of both directions.
func (k *Keys) label(seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte("nova-kms"), k.SID...), seq)
}

// Seal returns a message, and its number, which is never used again. timeMS is the Unix time in milliseconds. It fails with ErrUsedUp.
func (k *Keys) Seal(text []byte, timeMS int64) (body []byte, seq uint64, err error) {
	if seq, err = k.next(); err != nil {
		return nil, 0, err
	}
	size := (headSize + len(text) + unit - 1) / unit * unit
	body = make([]byte, 0, sidSize+seqSize+size+tagSize)
	body = binary.BigEndian.AppendUint64(append(body, k.SID...), seq)
	content := body[len(body) : len(body)+size]
	binary.BigEndian.PutUint64(content, uint64(timeMS))
	binary.BigEndian.PutUint32(content[8:], uint32(len(text)))
	copy(content[headSize:], text)
	return k.c2s.Seal(body, iv(seq), content, k.label(seq)), seq, nil
}

// Open returns the JSON of the answer to the message of a number, and a Malformed for anything else. It takes body over: the JSON is a
// part of it.
func (k *Keys) Open(body []byte, seq uint64) ([]byte, error) {
	const other = codec.Malformed("not the answer to this message")
	if len(body) < seqSize+unit+tagSize || !bytes.Equal(body[:seqSize], binary.BigEndian.AppendUint64(nil, seq)) {
		return nil, other
	}
	sealed := body[seqSize:]
	content, err := k.s2c.Open(sealed[:0], iv(seq), sealed, k.label(seq))
	if err != nil || len(content)%unit != 0 {
		return nil, other
	}
	end := headSize + uint64(binary.BigEndian.Uint32(content[8:]))
	if end > uint64(len(content)) || uint64(len(content))-end >= unit {
		return nil, codec.Malformed("an answer with wrong padding")
	}
	for _, b := range content[end:] {
		if b != 0 {
			return nil, codec.Malformed("an answer with wrong padding")
		}
	}
	return content[headSize:end], nil
}
