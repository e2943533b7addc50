package novakms

import (
	"errors"
	"net/netip"
)

var errNotPublic = errors.New("not a public address")

// What IANA's registries of special-purpose addresses say is not globally reachable, beyond what net/netip knows.
var special = func() []netip.Prefix {
	var prefixes []netip.Prefix
	for _, text := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"240.0.0.0/4", "::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10",
	} {
		prefixes = append(prefixes, netip.MustParsePrefix(text))
	}
	return prefixes
}()

var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96") // an IPv4 address in its last four bytes
	sixToFour = netip.MustParsePrefix("2002::/16")    // one in its third to sixth
)

// checkPublic returns errNotPublic for an address with a port that is not of the public network.
func checkPublic(address string) error {
	parsed, err := netip.ParseAddrPort(address)
	if err != nil || !isPublic(parsed.Addr()) {
		return errNotPublic
	}
	return nil
}

func isPublic(address netip.Addr) bool {
	address = address.Unmap()
	if !address.IsGlobalUnicast() || address.IsPrivate() || address.Zone() != "" {
		return false
	}
	for _, prefix := range special {
		if prefix.Contains(address) {
			return false
		}
	}
	if bytes := address.As16(); nat64.Contains(address) {
		return isPublic(netip.AddrFrom4([4]byte(bytes[12:])))
	} else if sixToFour.Contains(address) {
		return isPublic(netip.AddrFrom4([4]byte(bytes[2:])))
	}
	return true
}
