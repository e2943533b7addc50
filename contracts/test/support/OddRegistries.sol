// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {INovaAppRegistry} from "../../src/interfaces/INovaAppRegistry.sol";

/// @title A registry whose answers about one instance and its version are whatever the test sets
contract SettableRegistry {
    INovaAppRegistry.RuntimeInstance private _instance;
    INovaAppRegistry.AppVersion private _version;
    bool private _instanceReverts;
    bool private _versionReverts;

    function setInstance(INovaAppRegistry.RuntimeInstance memory instance) external {
        _instance = instance;
    }

    function setVersion(INovaAppRegistry.AppVersion memory version) external {
        _version = version;
    }

    function setReverts(bool instanceReverts, bool versionReverts) external {
        (_instanceReverts, _versionReverts) = (instanceReverts, versionReverts);
    }

    function getInstanceByWallet(address) external view returns (INovaAppRegistry.RuntimeInstance memory) {
        require(!_instanceReverts, "unknown wallet");
        return _instance;
    }

    function getVersion(uint256, uint256) external view returns (INovaAppRegistry.AppVersion memory) {
        require(!_versionReverts, "unknown version");
        return _version;
    }
}

/// @title A registry that answers every call with the same bytes
contract RawRegistry {
    bytes private _answer;

    constructor(bytes memory answer) {
        _answer = answer;
    }

    fallback(bytes calldata) external returns (bytes memory) {
        return _answer;
    }
}
