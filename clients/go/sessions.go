package novakms

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"nova-kms/clients/go/internal/codec"
	"nova-kms/clients/go/internal/eth"
	"nova-kms/clients/go/internal/session"
)

const (
	maxGrant = 64 << 10  // bytes of an answer to an opening
	v1For    = time.Hour // how long a node without sessions is not asked again
)

// open is a session in use.
type open struct {
	keys   *session.Keys
	opened time.Time
	used   time.Time // guarded by the mutex of sessions, as over
	over   bool
}

// sessions are those of one application with one node: it opens one when it is needed, sends messages in it, gives it up where an answer is not
// authentic, and says when version 1 may be spoken instead (docs/protocol.md section 15.5). Any number of goroutines may use it at once.
type sessions struct {
	*node
	mutex   sync.Mutex
	current *open
	givenUp [][]byte // sids, for the next opening to name
	v1Until time.Time
	opening *opening
}

// opening is one that is under way: others wait for what comes of it.
type opening struct {
	done    chan struct{}
	session *open
	failure *Error
}

// ---- the end of a session ----------------------------------------------------------------------------------------

// drop uses a session no more, and says whether somebody else has dropped it before.
func (s *sessions) drop(which *open, giveUp bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.dropLocked(which, giveUp)
}

func (s *sessions) dropLocked(which *open, giveUp bool) {
	if s.current == which {
		s.current = nil
	}
	if giveUp && !which.over {
		s.givenUp = append(s.givenUp, which.keys.SID)
		s.givenUp = s.givenUp[max(0, len(s.givenUp)-session.MaxEnds):]
	}
	which.over = true
}

// giveUp has the node end a session with the next opening, so that a message that was held back on the way dies.
func (s *sessions) giveUp(which *open) { s.drop(which, true) }

func (s *sessions) close() {
	s.mutex.Lock()
	if s.current != nil {
		s.dropLocked(s.current, true)
	}
	s.mutex.Unlock()
	s.server.close()
}

// usable returns the session there is; the caller has the mutex. It is used for nine tenths of its times, so that it is seldom found ended.
func (s *sessions) usable() *open {
	if s.current == nil {
		return nil
	}
	now, life := s.now(), time.Duration(s.current.keys.LifeS)*time.Second/10*9
	if now.Sub(s.current.opened) > life || now.Sub(s.current.used) > life/4 {
		s.dropLocked(s.current, true)
	}
	return s.current
}

// ---- opening -----------------------------------------------------------------------------------------------------

// ready returns the session to use now, and nil where version 1 is spoken. Where it fails, no operation was sent.
func (s *sessions) ready(ctx context.Context) (*open, *Error) {
	for {
		s.mutex.Lock()
		if current := s.usable(); current != nil || s.now().Before(s.v1Until) {
			s.mutex.Unlock()
			return current, nil
		}
		// One goroutine opens, the others wait for what comes of it.
		attempt := s.opening
		if attempt == nil {
			attempt = &opening{done: make(chan struct{})}
			s.opening = attempt
			s.mutex.Unlock()
			return s.lead(ctx, attempt)
		}
		s.mutex.Unlock()
		select {
		case <-ctx.Done():
			return nil, canceled(ctx, false)
		case <-attempt.done:
		}
		// What ended with the other's context says nothing about the node.
		if attempt.failure == nil || attempt.failure.Kind != ErrCanceled {
			return attempt.session, attempt.failure
		}
	}
}

// lead opens a session, for those that wait as well.
func (s *sessions) lead(ctx context.Context, attempt *opening) (*open, *Error) {
	// An identity of somebody else may panic: nobody waits for ever then.
	attempt.failure = unavailable(false, "%s: an opening ended early", s.name)
	defer func() {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.opening = nil
		close(attempt.done)
	}()
	attempt.session, attempt.failure = s.open(ctx)
	if attempt.failure != nil {
		attempt.failure = attempt.failure.with(false)
	}
	return attempt.session, attempt.failure
}

func (s *sessions) open(ctx context.Context) (*open, *Error) {
	opened, refused := s.openSession(ctx)
	if refused == nil {
		s.remember()
		return opened, nil
	}
	if refused.Kind != ErrNoSession {
		return nil, refused
	}
	if failure := s.mayNotSpeakV1(ctx, refused); failure != nil {
		return nil, failure
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.v1Until = s.now().Add(v1For)
	return nil, nil
}

func (s *sessions) openSession(ctx context.Context) (*open, *Error) {
	p, failure := s.peer(ctx)
	if failure != nil {
		return nil, failure
	}
	nonce, failure := s.nonce(ctx)
	if failure != nil {
		return nil, failure
	}
	s.mutex.Lock()
	ends := slices.Clone(s.givenUp)
	s.mutex.Unlock()
	offer, err := session.NewOpening(ends)
	if err != nil {
		return nil, unavailable(false, "%s: no ephemeral key: %v", s.name, err)
	}
	body, err := p.channel.Seal(ctx, offer.Offer)
	if err != nil {
		return nil, asError(err, "the identity")
	}
	seconds := s.node.now().Unix()
	text := "NovaKMS:AppSession:" + nonce + ":" + p.wallet + ":" + strconv.FormatInt(seconds, 10) + ":" + digest(body)
	headers, signature, failure := s.prove(ctx, text, nonce, seconds)
	if failure != nil {
		return nil, failure
	}
	headers["Content-Type"] = contentJSON
	answer, failure := s.server.call(ctx, request{method: http.MethodPost, path: "/session", headers: headers, body: body, maxBytes: maxGrant})
	if failure != nil {
		return nil, failure
	}
	if answer.status != http.StatusOK {
		return nil, s.plain(answer, false)
	}
	keys, failure := s.finish(ctx, p, offer, text, signature, body, answer)
	if failure != nil {
		return nil, failure
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.givenUp = slices.DeleteFunc(s.givenUp, func(sid []byte) bool {
		return slices.ContainsFunc(ends, func(ended []byte) bool { return slices.Equal(sid, ended) })
	})
	s.current = &open{keys: keys, opened: s.now(), used: s.now()}
	return s.current, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// finish verifies the answer to an opening, and derives the keys.
func (s *sessions) finish(
	ctx context.Context, p *peer, offer *session.Opening, text, signature string, body []byte, answer *response,
) (*session.Keys, *Error) {
	const distrusted = "%s: the answer to an opening is not trusted: %v"
	signed := "NovaKMS:SessionAnswer:" + signature + ":" + p.wallet + ":" + digest(answer.body)
	if !eth.IsSignedBy(p.wallet, []byte(signed), answer.header("X-KMS-Session-Signature")) {
		return nil, violation(false, distrusted, s.name, "not signed by the node")
	}
	grant, failure := openWith(ctx, p.channel, slices.Clone(answer.body)) // the keys are bound to its bytes
	if failure != nil {
		if failure.Kind == ErrProtocol {
			return nil, violation(false, distrusted, s.name, failure.text)
		}
		return nil, failure
	}
	keys, err := offer.Finish(grant, []byte(text), body, answer.body)
	if err != nil {
		return nil, violation(false, distrusted, s.name, err)
	}
	return keys, nil
}

// remember notes that the node has sessions.
func (s *sessions) remember() {
	p, failure := s.peer(context.Background()) // known by now
	if failure != nil {
		return
	}
	if err := s.known.Add(p.wallet); err != nil {
		s.warn("cannot remember that a node has sessions", err)
	}
}

// ---- whether there are any ---------------------------------------------------------------------------------------

// mayNotSpeakV1 says why version 1 may not be spoken after an opening was refused; nil: it may.
func (s *sessions) mayNotSpeakV1(ctx context.Context, refused *Error) *Error {
	isRefusal := refused.plain >= 400 && refused.plain < 500 || refused.plain == http.StatusNotImplemented
	if !isRefusal {
		return refused
	}
	if s.allowV1 {
		return nil
	}
	p, failure := s.peer(ctx)
	if failure != nil {
		return failure
	}
	if s.known.Has(p.wallet) {
		return refused
	}
	return s.askV1(ctx, refused)
}

// askV1 asks in version 1, about a key that nobody uses. The node repeats the path, which was never used before, so its answer belongs to
// this question: one that was recorded, or made for another request, names another path. nil: it has no sessions.
func (s *sessions) askV1(ctx context.Context, refused *Error) *Error {
	path := make([]byte, 16)
	rand.Read(path) // never fails
	has, failure := s.hasSessions(ctx, Derive{Path: "nova-kms/features/" + hex.EncodeToString(path), Length: 1})
	switch {
	case failure == nil && has:
		s.remember()
		return refused
	case failure == nil:
		return nil
	case failure.isBusy() || failure.Kind == ErrCanceled:
		return failure
	}
	return &Error{
		Kind: ErrNoSession, plain: refused.plain, text: refused.text + "; asked for its features, the node does not say: " + failure.text,
	}
}

// ---- messages ----------------------------------------------------------------------------------------------------

// exchange sends a message, and opens its answer, which read is given before it is wiped. The error says in Sent whether the node may have
// got the message.
func (s *sessions) exchange(ctx context.Context, which *open, text []byte, read func(answer any) error) *Error {
	s.mutex.Lock()
	over := which.over
	s.mutex.Unlock()
	if over { // while this call waited for it: nothing is sent
		return &Error{Kind: ErrNoSession, text: s.name + ": the session has ended"}
	}
	body, seq, err := which.keys.Seal(text, s.now().UnixMilli())
	if err != nil {
		s.giveUp(which)
		return &Error{Kind: ErrNoSession, text: s.name + ": the session is used up"}
	}
	begun := s.now()
	answer, failure := s.server.call(ctx, request{
		method: http.MethodPost, path: "/session/message", headers: map[string]string{"Content-Type": "application/octet-stream"}, body: body,
		maxBytes: s.maxAnswer,
	})
	if failure != nil {
		if failure.Sent || failure.Kind != ErrCanceled {
			s.giveUp(which)
		}
		return failure
	}
	if answer.status != http.StatusOK {
		if !isBusyStatus(answer.status) {
			s.giveUp(which)
		}
		return s.plain(answer, true)
	}
	defer clear(answer.body)
	value, err := openMessage(which.keys, answer.body, seq)
	if err != nil {
		s.giveUp(which)
		return violation(true, "%s: what came is not the answer to this message: %v", s.name, err)
	}
	s.mutex.Lock()
	if begun.After(which.used) {
		which.used = begun
	}
	s.mutex.Unlock()
	if isLast(value) {
		s.drop(which, false)
	}
	if err := read(value); err != nil {
		s.giveUp(which)
		return violation(true, "%s: not the results of these operations: %v", s.name, err)
	}
	return nil
}

func openMessage(keys *session.Keys, body []byte, seq uint64) (any, error) {
	text, err := keys.Open(body, seq)
	if err != nil {
		return nil, err
	}
	return codec.Parse(text)
}

// isLast says whether an answer refuses the caller: that is the last one of a session.
func isLast(answer any) bool {
	if list, ok := answer.([]any); ok && len(list) == 1 {
		answer = list[0]
	}
	only, _ := answer.(codec.Object)
	code, _ := only.Text("code")
	return code == "unauthorized"
}
