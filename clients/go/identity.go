package novakms

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"

	"nova-kms/clients/go/internal/envelope"
	"nova-kms/clients/go/internal/eth"
)

// Channel seals envelopes for one node, and opens those that it sealed (docs/protocol.md section 6).
type Channel interface {
	// Seal returns the envelope of a plaintext, as JSON. It does not keep plain, which is wiped.
	Seal(ctx context.Context, plain []byte) ([]byte, error)
	// Open returns the plaintext of an envelope of the node, in an array that the caller wipes. It may overwrite body. Of what is not the
	// node's it returns an error that is ErrProtocol.
	Open(ctx context.Context, body []byte) ([]byte, error)
}

// Signer is what a Client needs of an application's identity: its wallet and its P-384 key, both registered on chain. Who keeps keys
// elsewhere, in an enclave's service, implements it. Calls come from any number of goroutines at once.
type Signer interface {
	// Wallet returns 0x and 40 lower-case digits.
	Wallet() string
	// Sign returns the wallet's EIP-191 signature: 0x and 130 digits.
	Sign(ctx context.Context, message []byte) (string, error)
	// Channel returns the channel to a node's teePubkey, an uncompressed point of 97 bytes.
	Channel(ctx context.Context, nodePoint []byte) (Channel, error)
}

const (
	seedSize = 32
	seedSalt = "nova-kms:identity"
)

// Identity is a Signer whose keys are in this process.
type Identity struct {
	wallet *eth.Wallet
	p384   *envelope.Key
}

// NewIdentity makes an identity of a wallet's key of 32 bytes and a P-384 key of 48, both big-endian. It keeps neither slice.
func NewIdentity(walletKey, p384Key []byte) (*Identity, error) {
	wallet, err := eth.NewWallet(walletKey)
	if err != nil {
		return nil, invalid("%v", err)
	}
	p384, err := envelope.NewKey(p384Key)
	if err != nil {
		return nil, invalid("%v", err)
	}
	return &Identity{wallet, p384}, nil
}

// IdentityFromSeed makes the identity of a seed of 32 bytes, as nova-kms derives it. It does not keep the slice.
func IdentityFromSeed(seed []byte) (*Identity, error) {
	if len(seed) != seedSize {
		return nil, invalid("a seed has %d bytes, not %d", seedSize, len(seed))
	}
	walletKey, err := hkdf.Key(sha256.New, seed, []byte(seedSalt), "wallet", 32)
	if err != nil {
		return nil, invalid("%v", err)
	}
	defer clear(walletKey)
	p384Key, err := hkdf.Key(sha256.New, seed, []byte(seedSalt), "p384", 48)
	if err != nil {
		return nil, invalid("%v", err)
	}
	defer clear(p384Key)
	return NewIdentity(walletKey, p384Key)
}

// IdentityFromFile makes the identity of a seed file (nova-kms keygen, nova-kms devnet): 64 hexadecimal digits and a newline, in a file
// that is its user's alone (mode 0600).
func IdentityFromFile(path string) (*Identity, error) {
	text, err := readPrivate(path, 2*seedSize+2)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	seed := make([]byte, seedSize)
	defer clear(seed)
	digits, hasEnd := bytes.CutSuffix(text, []byte("\n"))
	if len(digits) != 2*seedSize || !hasEnd {
		return nil, notSeedFile(path)
	}
	if _, err := hex.Decode(seed, digits); err != nil {
		return nil, notSeedFile(path)
	}
	return IdentityFromSeed(seed)
}

func notSeedFile(path string) *Error {
	return invalid("%s: is not a seed file: one has %d hexadecimal digits and a newline", printable(path), 2*seedSize)
}

// CreateIdentityFile makes a new seed file, with mode 0600, and its identity. Where the path is taken, the error is fs.ErrExist.
func CreateIdentityFile(path string) (*Identity, error) {
	text := make([]byte, 2*seedSize+1)
	defer clear(text)
	seed := make([]byte, seedSize)
	defer clear(seed)
	rand.Read(seed) // never fails
	hex.Encode(text, seed)
	text[2*seedSize] = '\n'
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if failed := file.Close(); err == nil {
		err = failed
	}
	if err != nil {
		return nil, err
	}
	return IdentityFromSeed(seed)
}

// Wallet returns the wallet in canonical form.
func (i *Identity) Wallet() string { return i.wallet.Address }

// Pubkey returns the teePubkey: DER SubjectPublicKeyInfo.
func (i *Identity) Pubkey() []byte { return envelope.DER(i.p384.Point()) }

// Sign returns the wallet's EIP-191 signature.
func (i *Identity) Sign(_ context.Context, message []byte) (string, error) {
	return i.wallet.Sign(message), nil
}

// Channel returns the channel to a node's teePubkey.
func (i *Identity) Channel(_ context.Context, nodePoint []byte) (Channel, error) {
	inner, err := envelope.NewChannel(i.p384, nodePoint)
	if err != nil {
		return nil, invalid("%v", err)
	}
	return localChannel{inner}, nil
}

// Wipe overwrites the wallet's key. The identity must not be used afterwards, nor a client that has it. The P-384 key stays in
// memory until Go uses that for something else: crypto/ecdh has no means to wipe it.
func (i *Identity) Wipe() { i.wallet.Wipe() }

// String names the wallet.
func (i *Identity) String() string { return "Identity " + i.Wallet() }

// Format prints what String says, for every verb.
func (i *Identity) Format(state fmt.State, _ rune) { show(state, i.String()) }

type localChannel struct{ inner *envelope.Channel }

func (c localChannel) Seal(_ context.Context, plain []byte) ([]byte, error) {
	return c.inner.Seal(plain), nil
}

func (c localChannel) Open(_ context.Context, body []byte) ([]byte, error) {
	plain, err := c.inner.Open(body)
	if err != nil {
		return nil, violation(false, "%v", err)
	}
	return plain, nil
}
