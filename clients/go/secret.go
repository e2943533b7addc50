package novakms

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Secret is a key or value: bytes that do not show themselves, and can be wiped. Call Wipe when done.
//
// It is not wiped when it is collected: Go could collect it while what Bytes returned is still in use. Copies that others make of its
// bytes are not wiped. It cannot be written as JSON, as text or by encoding/gob.
type Secret struct {
	// reveal is a function, since fmt shows what pointers in fields lead to where it does not know a verb for them.
	reveal func() []byte
}

// NewSecret makes a Secret of bytes, which it takes over.
func NewSecret(bytes []byte) *Secret { return &Secret{func() []byte { return bytes }} }

func (s *Secret) own() []byte {
	if s == nil || s.reveal == nil {
		return nil
	}
	return s.reveal()
}

// Bytes returns the bytes themselves, not a copy: Wipe overwrites them.
func (s *Secret) Bytes() []byte { return s.own() }

// Len returns how many bytes there are.
func (s *Secret) Len() int { return len(s.own()) }

// Wipe overwrites the bytes with zeros; there are as many as before. It must not run while others read them.
func (s *Secret) Wipe() { clear(s.own()) }

// Equal says whether the bytes are these, in a time that depends on their number alone.
func (s *Secret) Equal(bytes []byte) bool { return subtle.ConstantTimeCompare(s.own(), bytes) == 1 }

// String says how long the secret is.
func (s *Secret) String() string { return fmt.Sprintf("Secret of %d bytes", s.Len()) }

// Format prints what String says, for every verb.
func (s *Secret) Format(state fmt.State, _ rune) { show(state, s.String()) }

// LogValue logs what String says.
func (s *Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

var errNotWritten = errors.New("novakms: a Secret is not written")

// MarshalText fails.
func (s *Secret) MarshalText() ([]byte, error) { return nil, errNotWritten }

// MarshalJSON fails.
func (s *Secret) MarshalJSON() ([]byte, error) { return nil, errNotWritten }

// MarshalBinary fails.
func (s *Secret) MarshalBinary() ([]byte, error) { return nil, errNotWritten }

// show prints a text, whatever verb and flags fmt was asked for.
func show(state fmt.State, text string) { io.WriteString(state, text) }
