package novakms

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"nova-kms/clients/go/internal/codec"
	"nova-kms/clients/go/internal/envelope"
	"nova-kms/clients/go/internal/eth"
)

const (
	maxRPCAnswer      = 16 << 20 // bytes
	callsAtOnce       = 50       // of a request: servers take no more than some 100
	chainTimeout      = 30 * time.Second
	confirmations     = 6
	maxConfirmations  = 10000
	maxHeadAge        = 5 * time.Minute
	maxAhead          = time.Minute // of this machine's clock
	reverted          = 3           // the JSON-RPC error of a call that reverts
	instanceActive    = 0
	versionEnrolled   = 0
	versionDeprecated = 1
	longestMaxHeadAge = 24 * time.Hour
)

// AtHead is the ChainConfig.Confirmations of the newest block.
const AtHead = -1

// ChainConfig is what a Chain is made of: RPCURL and KMSRegistry must be there.
type ChainConfig struct {
	// RPCURL is of an Ethereum JSON-RPC server; it may have a key in its path or query, which no error shows. The server is trusted: run one
	// beside the application (Helios), or one behind https that is yours.
	RPCURL string
	// KMSRegistry is the contract's address, which names NovaAppRegistry. AppRegistry is what it must name; "" stands for any.
	KMSRegistry, AppRegistry string
	// ChainID is what the server's must be; 0 stands for any.
	ChainID uint64
	// Confirmations is how many blocks behind the newest one the chain is read at, at most 10 000: 0 stands for 6, AtHead for none.
	Confirmations int
	// MaxHeadAge is how old the newest block may be, at most 24 hours; 0 stands for 5 minutes.
	MaxHeadAge time.Duration
	// Timeout is of reading all nodes, as a whole, at most 24 hours; 0 stands for 30 seconds.
	Timeout time.Duration
	// AllowPrivate takes nodes with http URLs and private addresses (a devnet).
	AllowPrivate bool
	// TLS is for an https URL; nil: the system's certificates.
	TLS *tls.Config
}

// Chain reads who the nodes of a cluster are: members that are ACTIVE, zkVerified, of a version that is not revoked, with a valid teePubkey and
// URL (docs/protocol.md section 14). It is a NodeSource. Any number of goroutines may use it at once.
type Chain struct {
	config ChainConfig
	server *server
	path   string // of the RPC URL, with its query
	now    func() time.Time
}

// NewChain makes a Chain. Nothing is called yet.
func NewChain(config ChainConfig) (*Chain, error) {
	base, path, wrong := parseRPC(config.RPCURL)
	if wrong != nil {
		return nil, wrong
	}
	if config.Confirmations == 0 {
		config.Confirmations = confirmations
	}
	if config.MaxHeadAge == 0 {
		config.MaxHeadAge = maxHeadAge
	}
	if config.Timeout == 0 {
		config.Timeout = chainTimeout
	}
	switch {
	case config.Confirmations < AtHead || config.Confirmations > maxConfirmations:
		return nil, invalid("Confirmations is %d: 1 to %d are allowed, 0 for %d, AtHead for none", config.Confirmations, maxConfirmations, confirmations)
	case config.MaxHeadAge < 0 || config.MaxHeadAge > longestMaxHeadAge:
		return nil, invalid("the MaxHeadAge is %v: more than 0 and at most %v are allowed", config.MaxHeadAge, longestMaxHeadAge)
	case config.Timeout < 0 || config.Timeout > maxTimeout:
		return nil, invalid("the Timeout is %v: more than 0 and at most %v are allowed", config.Timeout, maxTimeout)
	}
	var err error
	if config.KMSRegistry, err = eth.ParseAddress(config.KMSRegistry); err != nil {
		return nil, invalid("KMSRegistry is %v", err)
	}
	if config.AppRegistry != "" {
		if config.AppRegistry, err = eth.ParseAddress(config.AppRegistry); err != nil {
			return nil, invalid("AppRegistry is %v", err)
		}
	}
	server := newServer(base, base.Scheme+"://"+base.Host, config.Timeout, config.TLS, false)
	return &Chain{config, server, path, time.Now}, nil
}

// parseRPC returns the URL of a server, and the path that is called there.
func parseRPC(text string) (*url.URL, string, *Error) {
	text, query, hasQuery := strings.Cut(text, "?")
	base, wrong := parseURL(text)
	if wrong != nil {
		return nil, "", wrong
	}
	// The rules for the query are those for the path.
	if _, wrong := parseURL("http://x/" + query); wrong != nil {
		return nil, "", invalid("the RPC URL has an odd query")
	}
	path := base.EscapedPath()
	base.Path, base.RawPath = "", ""
	if hasQuery {
		path += "?" + query
	}
	return base, path, nil
}

// String says which server it asks, without the path, which may have a key.
func (c *Chain) String() string { return "Chain at " + c.server.name }

// Format prints what String says, for every verb.
func (c *Chain) Format(state fmt.State, _ rune) { show(state, c.String()) }

// Format prints no part of the RPC URL, for every verb.
func (c ChainConfig) Format(state fmt.State, _ rune) {
	show(state, "ChainConfig of KMSRegistry "+printable(c.KMSRegistry))
}

// Close closes the connections. A later call opens new ones. It never fails.
func (c *Chain) Close() error {
	c.server.close()
	return nil
}

// ---- the block that is read at -----------------------------------------------------------------------------------

func (c *Chain) block(ctx context.Context) (string, *Error) {
	answers, failure := c.rpc(ctx, []rpcCall{{"eth_getBlockByNumber", []any{"latest", false}}, {"eth_chainId", []any{}}})
	if failure != nil {
		return "", failure
	}
	head, failure := c.result(answers[0])
	if failure != nil {
		return "", failure
	}
	named, failure := c.result(answers[1])
	if failure != nil {
		return "", failure
	}
	if id, ok := quantity(named); c.config.ChainID != 0 && (!ok || id != c.config.ChainID) {
		return "", c.violation("serves another chain than %d", c.config.ChainID)
	}
	members, _ := head.(codec.Object)
	number, hasNumber := quantity(members["number"])
	seconds, hasTime := quantity(members["timestamp"])
	if !hasNumber || !hasTime {
		return "", c.violation("not a block")
	}
	now, stamp := c.now(), int64(seconds)
	if stamp < now.Add(-c.config.MaxHeadAge).Unix() {
		return "", unavailable(false, "%s: the newest block is %d s old: at most %v are allowed", c.server.name, now.Unix()-stamp, c.config.MaxHeadAge)
	}
	if stamp > now.Add(maxAhead).Unix() {
		return "", unavailable(false, "%s: the newest block is stamped %d s ahead of this machine's clock", c.server.name, stamp-now.Unix())
	}
	number -= min(number, uint64(max(0, c.config.Confirmations)))
	return "0x" + strconv.FormatUint(number, 16), nil
}

// ---- contracts ---------------------------------------------------------------------------------------------------

// query is a call of a contract.
type query struct{ contract, data string }

// readAll reads contracts at a block, and returns what each gave; nil: the call reverts, so there is no such thing.
func readAll[T any](ctx context.Context, c *Chain, block string, queries []query, decode func([]byte) (T, error)) ([]*T, *Error) {
	if len(queries) == 0 {
		return nil, nil
	}
	calls := make([]rpcCall, len(queries))
	for i, q := range queries {
		calls[i] = rpcCall{"eth_call", []any{codec.Members{"to": q.contract, "data": q.data}, block}}
	}
	answers, failure := c.rpc(ctx, calls)
	if failure != nil {
		return nil, failure
	}
	values := make([]*T, len(queries))
	for i, answer := range answers {
		if isRevert(answer) {
			continue
		}
		result, failure := c.result(answer)
		if failure != nil {
			return nil, failure
		}
		text, _ := result.(codec.Text)
		digits, ok := strings.CutPrefix(string(text), "0x")
		data, err := hex.DecodeString(digits)
		if !ok || err != nil {
			return nil, c.violation("a contract gave no data")
		}
		if len(data) == 0 {
			return nil, c.violation("there is no contract at %s", queries[i].contract)
		}
		value, err := decode(data)
		if err != nil {
			return nil, c.violation("a contract's data: %v", err)
		}
		values[i] = &value
	}
	return values, nil
}

func isRevert(answer codec.Object) bool {
	refused, _ := answer["error"].(codec.Object)
	code, _ := refused.Uint64("code", reverted)
	message, _ := refused.Text("message")
	return code == reverted || strings.Contains(strings.ToLower(message), "revert")
}

func readOne[T any](ctx context.Context, c *Chain, block, contract, data string, decode func([]byte) (T, error)) (T, *Error) {
	values, failure := readAll(ctx, c, block, []query{{contract, data}}, decode)
	var none T
	if failure != nil {
		return none, failure
	}
	if values[0] == nil {
		return none, c.violation("%s is no KMSRegistry", contract)
	}
	return *values[0], nil
}

// Nodes reads the nodes that there are now, with wallets and keys pinned.
func (c *Chain) Nodes(ctx context.Context) ([]Node, error) {
	limited, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	nodes, failure := c.nodes(limited)
	if failure != nil && failure.Kind == ErrCanceled && ctx.Err() == nil {
		return nil, &Error{Kind: ErrTimeout, text: c.server.name + ": the chain could not be read in time"}
	}
	if failure != nil {
		return nil, failure
	}
	return nodes, nil
}

func (c *Chain) nodes(ctx context.Context) ([]Node, *Error) {
	block, failure := c.block(ctx)
	if failure != nil {
		return nil, failure
	}
	kms := c.config.KMSRegistry
	appID, failure := readOne(ctx, c, block, kms, eth.Call("kmsAppId()"), eth.DecodeNumber)
	if failure != nil {
		return nil, failure
	}
	apps, failure := readOne(ctx, c, block, kms, eth.Call("novaAppRegistry()"), eth.DecodeAddress)
	if failure != nil {
		return nil, failure
	}
	if c.config.AppRegistry != "" && apps != c.config.AppRegistry {
		return nil, c.violation("KMSRegistry names another NovaAppRegistry")
	}
	members, failure := c.members(ctx, block, apps, appID)
	if failure != nil {
		return nil, failure
	}
	good, failure := c.goodVersions(ctx, block, apps, appID, members)
	if failure != nil {
		return nil, failure
	}
	var nodes []Node
	for _, member := range members {
		if node, ok := c.nodeOf(member); ok && good[member.VersionID] {
			nodes = append(nodes, node)
		}
	}
	return nodes, nil
}

// members are the active instances of an application.
func (c *Chain) members(ctx context.Context, block, apps string, appID uint64) ([]eth.Instance, *Error) {
	lists, failure := readAll(ctx, c, block, []query{{apps, eth.Call("getActiveInstances(uint256)", appID)}}, eth.DecodeAddresses)
	if failure != nil || lists[0] == nil {
		return nil, failure
	}
	wallets := *lists[0]
	queries := make([]query, len(wallets))
	for i, wallet := range wallets {
		queries[i] = query{apps, eth.Call("getInstanceByWallet(address)", wallet)}
	}
	found, failure := readAll(ctx, c, block, queries, eth.DecodeInstance)
	if failure != nil {
		return nil, failure
	}
	var members []eth.Instance
	for i, instance := range found {
		// A registry may still map the wallet to an instance that has another one now.
		if instance != nil && instance.ID != 0 && instance.Wallet == wallets[i] && instance.AppID == appID &&
			instance.Status == instanceActive && instance.ZkVerified {
			members = append(members, *instance)
		}
	}
	return members, nil
}

func (c *Chain) goodVersions(ctx context.Context, block, apps string, appID uint64, members []eth.Instance) (map[uint64]bool, *Error) {
	var ids []uint64
	for _, member := range members {
		ids = append(ids, member.VersionID)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	queries := make([]query, len(ids))
	for i, id := range ids {
		queries[i] = query{apps, eth.Call("getVersion(uint256,uint256)", appID, id)}
	}
	found, failure := readAll(ctx, c, block, queries, eth.DecodeVersion)
	if failure != nil {
		return nil, failure
	}
	good := map[uint64]bool{}
	for i, version := range found {
		good[ids[i]] = version != nil && version.ID == ids[i] && (version.Status == versionEnrolled || version.Status == versionDeprecated)
	}
	return good, nil
}

// nodeOf is the node of a member, where it has a key, and a URL that can be called.
func (c *Chain) nodeOf(member eth.Instance) (Node, bool) {
	point, err := envelope.ParsePubkey(member.Pubkey)
	if err != nil {
		return Node{}, false
	}
	base, wrong := parseURL(member.URL)
	if wrong != nil || base.Scheme != "https" && !c.config.AllowPrivate {
		return Node{}, false
	}
	return Node{URL: member.URL, Wallet: member.Wallet, Pubkey: hex.EncodeToString(point), PublicOnly: !c.config.AllowPrivate}, true
}
