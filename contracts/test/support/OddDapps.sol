// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {NovaAppRegistry} from "../../src/NovaAppRegistry.sol";

/// @title Contracts that take callbacks badly
contract RevertingDapp {
    fallback() external {
        revert("no");
    }
}

contract InvalidDapp {
    fallback() external {
        assembly {
            invalid()
        }
    }
}

contract GasBurningDapp {
    fallback() external {
        for (uint256 i = 0;; ++i) {}
    }
}

/// Answers with as much data as its gas allows, as success or as revert.
contract VerboseDapp {
    bool private immutable REVERTS;

    constructor(bool reverts) {
        REVERTS = reverts;
    }

    fallback() external {
        bool reverts = REVERTS;
        assembly {
            if reverts { revert(0, 100000) }
            return(0, 100000)
        }
    }
}

/// Calls the registry back: the registry's owner alone may, and this is not it.
contract ReentrantDapp {
    NovaAppRegistry private immutable REGISTRY;
    bool public refused;

    constructor(NovaAppRegistry registry) {
        REGISTRY = registry;
    }

    fallback() external {
        try REGISTRY.setZkVerified(1, false) {}
        catch (bytes memory reason) {
            refused = bytes4(reason) == NovaAppRegistry.NotOwner.selector;
        }
    }
}

/// Keeps what it was told.
contract ListeningDapp {
    bytes public last;
    uint256 public gas;

    fallback() external {
        gas = gasleft();
        last = msg.data;
    }
}

/// Needs nearly all the gas that a callback gets.
contract HungryDapp {
    bool public heard;

    fallback() external {
        require(gasleft() > 190_000, "hungry");
        heard = true;
    }
}
