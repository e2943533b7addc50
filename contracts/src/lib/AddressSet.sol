// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title A set of addresses: adding, removing and asking cost the same however many it holds
/// @dev Removal moves the last member into the gap, so the order of members is not stable.
library AddressSet {
    struct Set {
        address[] members;
        /// Index in members plus one; zero: not a member.
        mapping(address => uint256) place;
    }

    /// @notice Adds a member.
    /// @return added false when it was one already
    function add(Set storage self, address member) internal returns (bool added) {
        if (self.place[member] != 0) return false;
        self.members.push(member);
        self.place[member] = self.members.length;
        return true;
    }

    /// @notice Removes a member.
    /// @return removed false when it was none
    function remove(Set storage self, address member) internal returns (bool removed) {
        uint256 place = self.place[member];
        if (place == 0) return false;
        address last = self.members[self.members.length - 1];
        self.members[place - 1] = last;
        self.place[last] = place;
        self.members.pop();
        delete self.place[member];
        return true;
    }

    /// @return whether an address is a member
    function contains(Set storage self, address member) internal view returns (bool) {
        return self.place[member] != 0;
    }
}
