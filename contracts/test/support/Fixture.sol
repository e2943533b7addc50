// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {KMSRegistry} from "../../src/KMSRegistry.sol";
import {NovaAppRegistry} from "../../src/NovaAppRegistry.sol";

/// @title Both contracts with a KMS application whose first version is enrolled; the test is the owner
abstract contract Fixture {
    address internal constant STRANGER = address(0xBAD);
    bytes32 internal constant HASH = keccak256("a master secret");

    NovaAppRegistry internal registry;
    KMSRegistry internal kms;
    uint256 internal appId;
    uint256 internal versionId;

    function setUp() public virtual {
        registry = new NovaAppRegistry(address(this));
        kms = new KMSRegistry(address(this), address(registry));
        appId = createApp(address(kms));
        versionId = enroll(appId);
        kms.setKmsAppId(appId);
    }

    function createApp(address dapp) internal returns (uint256) {
        return registry.createApp(address(0xA11CE), "nitro", dapp, "ipfs://app", address(0xCAFE));
    }

    function enroll(uint256 app) internal returns (uint256) {
        return registry.enrollVersion(app, "v1", keccak256("image"), "ipfs://image", "ipfs://audit", "sha256:1", "7");
    }

    function register(uint256 app, uint256 version, address wallet) internal returns (uint256) {
        return registry.registerInstance(app, version, address(0x09), "https://node", hex"3076", wallet, true);
    }

    /// A verified instance of the KMS application.
    function node(address wallet) internal returns (uint256) {
        return register(appId, versionId, wallet);
    }
}
