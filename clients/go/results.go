package novakms

import (
	"bytes"
	"fmt"
	"time"

	"nova-kms/clients/go/internal/codec"
)

// exactly refuses a reply with other members: it is to another operation.
func exactly(reply codec.Object, names ...string) error {
	for _, name := range names {
		if _, ok := reply[name]; !ok {
			return codec.Malformed("not the members of a result of this operation")
		}
	}
	if len(reply) != len(names) {
		return codec.Malformed("not the members of a result of this operation")
	}
	return nil
}

// copiesOf is exactly, for a reply that may have `copies`, too: it returns them.
func copiesOf(reply codec.Object, names ...string) (int, error) {
	if _, has := reply["copies"]; !has {
		return 0, exactly(reply, names...)
	}
	if err := exactly(reply, append(names, "copies")...); err != nil {
		return 0, err
	}
	copies, ok := reply.Uint64("copies", 1<<31-1)
	if !ok || copies == 0 {
		return 0, codec.Malformed("copies is no number above 0")
	}
	return int(copies), nil
}

// named returns the reply's application, where it names what was asked for.
func named(reply codec.Object, member, wanted string) (uint64, error) {
	if text, ok := reply[member].(codec.Text); !ok || !bytes.Equal(text, []byte(wanted)) {
		return 0, codec.Malformed(member + " is another one")
	}
	appID, ok := reply.Uint64("app_id", 1<<64-1)
	if !ok {
		return 0, codec.Malformed("app_id is no number")
	}
	return appID, nil
}

func timeOf(reply codec.Object) (time.Time, error) {
	ms, ok := reply.Uint64("updated_at_ms", maxNumber)
	if !ok {
		return time.Time{}, codec.Malformed("updated_at_ms is no number")
	}
	return time.UnixMilli(int64(ms)), nil
}

func secretOf(reply codec.Object, name string) (*Secret, error) {
	text, ok := reply[name].(codec.Text)
	if !ok {
		return nil, codec.Malformed(name + " is not base64")
	}
	data, err := codec.Base64(text)
	if err != nil {
		return nil, err
	}
	return NewSecret(data), nil
}

// ---- showing -----------------------------------------------------------------------------------------------------

// Format prints lengths alone, for every verb.
func (o Derive) Format(state fmt.State, _ rune) {
	show(state, fmt.Sprintf("Derive of %d bytes", o.length()))
}

// Format prints lengths alone, for every verb.
func (o Put) Format(state fmt.State, _ rune) {
	show(state, fmt.Sprintf("Put of %d bytes", len(o.Value)))
}

// Format prints no key, for every verb.
func (o Get) Format(state fmt.State, _ rune) { show(state, "Get") }

// Format prints no key, for every verb.
func (o Delete) Format(state fmt.State, _ rune) { show(state, "Delete") }

// Format prints no key, for every verb.
func (o List) Format(state fmt.State, _ rune) { show(state, fmt.Sprintf("List of %d keys", o.Limit)) }

// Format prints lengths alone, for every verb.
func (r Derived) Format(state fmt.State, _ rune) { show(state, fmt.Sprintf("Derived: %v", r.Key)) }

// Format prints no key, for every verb.
func (r Written) Format(state fmt.State, _ rune) {
	show(state, fmt.Sprintf("Written at %s, %d copies", stamp(r.UpdatedAt), r.Copies))
}

// Format prints lengths alone, for every verb.
func (r Record) Format(state fmt.State, _ rune) {
	show(state, fmt.Sprintf("Record of %s: %v", stamp(r.UpdatedAt), r.Value))
}

// Format prints no key, for every verb.
func (r Deleted) Format(state fmt.State, _ rune) {
	show(state, fmt.Sprintf("Deleted, %d copies", r.Copies))
}

// Format prints no key, for every verb.
func (r Page) Format(state fmt.State, _ rune) {
	show(state, fmt.Sprintf("Page of %d keys", len(r.Keys)))
}

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

func (Derived) result() {}
func (Written) result() {}
func (Record) result()  {}
func (Deleted) result() {}
func (Page) result()    {}
