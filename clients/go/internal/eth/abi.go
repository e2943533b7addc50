package eth

import (
	"encoding/binary"
	"encoding/hex"
	"unicode/utf8"

	"nova-kms/clients/go/internal/codec"
)

const (
	wordSize      = 32
	instanceWords = 10
	versionWords  = 10
	maxURL        = 2048
	maxPubkey     = 256
	// MaxMembers is how many addresses a list of the registry may have.
	MaxMembers = 1000
)

// Call returns the data of a call in hexadecimal digits. The arguments are numbers (uint64) and addresses (string, in canonical form).
func Call(signature string, arguments ...any) string {
	data := Keccak256([]byte(signature))[:4]
	for _, argument := range arguments {
		switch a := argument.(type) {
		case uint64:
			data = append(data, word(a)...)
		case string:
			address, err := codec.HexOf(a, addressSize)
			if err != nil {
				panic("eth: an argument that is no address")
			}
			data = append(append(data, make([]byte, wordSize-addressSize)...), address...)
		default:
			panic("eth: an argument of another type")
		}
	}
	return "0x" + hex.EncodeToString(data)
}

// Instance is an instance in NovaAppRegistry. URL and Pubkey are empty where they are too long, or no text: such an instance is no node,
// and nothing else is wrong.
type Instance struct {
	ID, AppID, VersionID uint64
	URL                  string
	Pubkey               []byte
	Wallet               string
	ZkVerified           bool
	Status               uint8
}

// Version is a version of an application in NovaAppRegistry.
type Version struct {
	ID     uint64
	Status uint8
}

// part is data that offsets count from: all of it, or a struct and what follows it.
type part []byte

// low returns the last bytes of a word, whose others must be zero.
func (p part) low(index, size int) []byte {
	if len(p) < (index+1)*wordSize {
		panic(codec.Malformed("the data ends too early"))
	}
	word := p[index*wordSize : (index+1)*wordSize]
	for _, b := range word[:wordSize-size] {
		if b != 0 {
			panic(codec.Malformed("a number is too large"))
		}
	}
	return word[wordSize-size:]
}

func (p part) number(index int) uint64 { return binary.BigEndian.Uint64(p.low(index, 8)) }

func (p part) small(index int, most byte) byte {
	value := p.low(index, 1)[0]
	if value > most {
		panic(codec.Malformed("a number is too large"))
	}
	return value
}

func (p part) address(index int) string { return "0x" + hex.EncodeToString(p.low(index, addressSize)) }

// follow returns the part at an offset, which is behind the fixed words, with so many words at least.
func (p part) follow(index, fixed, words int) part {
	offset := p.number(index)
	if offset < uint64(fixed*wordSize) || offset > uint64(len(p)) || (uint64(len(p))-offset)/wordSize < uint64(words) {
		panic(codec.Malformed("an offset is wrong"))
	}
	return p[offset:]
}

// content returns a string, or bytes. Its padding is not looked at: contracts copy it from storage, where it may be anything.
func (p part) content(index, fixed int) []byte {
	follows := p.follow(index, fixed, 1)
	length, room := follows.number(0), uint64(len(follows)-wordSize)
	if length > room || (length+wordSize-1)/wordSize*wordSize > room {
		panic(codec.Malformed("a length is wrong"))
	}
	return follows[wordSize : wordSize+length]
}

// decode reads data with a function that panics with a Malformed.
func decode[T any](data []byte, read func(part) T) (value T, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			malformed, ok := reason.(codec.Malformed)
			if !ok {
				panic(reason)
			}
			err = malformed
		}
	}()
	if len(data) < wordSize || len(data)%wordSize != 0 {
		return value, codec.Malformed("not whole words")
	}
	return read(data), nil
}

func one(p part) part {
	if len(p) != wordSize {
		panic(codec.Malformed("not one word"))
	}
	return p
}

// DecodeInstance reads what getInstance and getInstanceByWallet return.
func DecodeInstance(data []byte) (Instance, error) {
	return decode(data, func(all part) Instance {
		p := all.follow(0, 1, instanceWords)
		p.address(3) // operator
		if p.number(9)>>63 != 0 {
			panic(codec.Malformed("a number is too large")) // registeredAt
		}
		url, pubkey := p.content(4, instanceWords), p.content(5, instanceWords)
		if len(url) > maxURL || !utf8.Valid(url) {
			url = nil
		}
		if len(pubkey) > maxPubkey {
			pubkey = nil
		}
		return Instance{
			ID: p.number(0), AppID: p.number(1), VersionID: p.number(2), URL: string(url), Pubkey: pubkey,
			Wallet: p.address(6), ZkVerified: p.small(7, 1) == 1, Status: p.small(8, 255),
		}
	})
}

// DecodeVersion reads what getVersion returns.
func DecodeVersion(data []byte) (Version, error) {
	return decode(data, func(all part) Version {
		p := all.follow(0, 1, versionWords)
		for _, index := range []int{1, 3, 4, 5, 6} {
			p.content(index, versionWords)
		}
		p.address(9)
		return Version{p.number(0), p.small(7, 255)}
	})
}

// DecodeAddresses reads a list of MaxMembers addresses at most.
func DecodeAddresses(data []byte) ([]string, error) {
	return decode(data, func(all part) []string {
		p := all.follow(0, 1, 1)
		count := p.number(0)
		if count > MaxMembers {
			panic(codec.Malformed("more than 1000 addresses"))
		}
		addresses := make([]string, count)
		for i := range addresses {
			addresses[i] = p.address(1 + i)
		}
		return addresses
	})
}

// DecodeNumber reads a number of 64 bits.
func DecodeNumber(data []byte) (uint64, error) {
	return decode(data, func(all part) uint64 { return one(all).number(0) })
}

// DecodeAddress reads an address.
func DecodeAddress(data []byte) (string, error) {
	return decode(data, func(all part) string { return one(all).address(0) })
}
