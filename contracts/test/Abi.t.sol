// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IKMSRegistry} from "../src/interfaces/IKMSRegistry.sol";
import {INovaAppRegistry} from "../src/interfaces/INovaAppRegistry.sol";
import {Fixture} from "./support/Fixture.sol";
import {vm} from "./support/Vm.sol";

/// What deployed nodes rely on, word by word: selectors, and the place of each field in a struct.
/// The numbers are written out here, not taken from the sources under test.
contract AbiTest is Fixture {
    function test_selectors_of_the_views() public pure {
        selector(INovaAppRegistry.getApp.selector, "getApp(uint256)");
        selector(INovaAppRegistry.getVersion.selector, "getVersion(uint256,uint256)");
        selector(INovaAppRegistry.getInstance.selector, "getInstance(uint256)");
        selector(INovaAppRegistry.getInstanceByWallet.selector, "getInstanceByWallet(address)");
        selector(INovaAppRegistry.getActiveInstances.selector, "getActiveInstances(uint256)");
        selector(INovaAppRegistry.getInstancesForVersion.selector, "getInstancesForVersion(uint256,uint256)");
        // As in calls that nodes send today.
        vm.assertEq(INovaAppRegistry.getApp.selector, bytes4(0x24f3a51b));
        vm.assertEq(INovaAppRegistry.getVersion.selector, bytes4(0x6987b075));
    }

    function test_selectors_of_the_kms_registry() public pure {
        selector(IKMSRegistry.OWNER.selector, "OWNER()");
        selector(IKMSRegistry.novaAppRegistry.selector, "novaAppRegistry()");
        selector(IKMSRegistry.setNovaAppRegistry.selector, "setNovaAppRegistry(address)");
        selector(IKMSRegistry.kmsAppId.selector, "kmsAppId()");
        selector(IKMSRegistry.setKmsAppId.selector, "setKmsAppId(uint256)");
        selector(IKMSRegistry.masterSecretHash.selector, "masterSecretHash()");
        selector(IKMSRegistry.setMasterSecretHash.selector, "setMasterSecretHash(bytes32)");
        selector(IKMSRegistry.resetMasterSecretHash.selector, "resetMasterSecretHash()");
        selector(IKMSRegistry.anchorSnapshot.selector, "anchorSnapshot(bytes32,uint64)");
        selector(IKMSRegistry.snapshotAnchor.selector, "snapshotAnchor(address)");
        selector(IKMSRegistry.newestSnapshotAnchor.selector, "newestSnapshotAnchor()");
        selector(IKMSRegistry.addOperator.selector, "addOperator(address,uint256,uint256,uint256)");
        selector(IKMSRegistry.removeOperator.selector, "removeOperator(address,uint256,uint256,uint256)");
        selector(IKMSRegistry.isOperator.selector, "isOperator(address)");
        selector(IKMSRegistry.operatorCount.selector, "operatorCount()");
        selector(IKMSRegistry.operatorAt.selector, "operatorAt(uint256)");
        selector(IKMSRegistry.getOperators.selector, "getOperators()");
    }

    function test_place_of_each_field_of_an_app() public {
        vm.warp(1_700_000_000);
        uint256 id = createApp(address(0xDA));
        enroll(id);
        registry.setAppStatus(id, INovaAppRegistry.AppStatus.REVOKED);
        bytes memory data = answer(abi.encodeCall(registry.getApp, (id)));
        word(data, 0, 0x20);
        word(data, 1, id);
        word(data, 2, 0xA11CE);
        word(data, 3, uint256(bytes32("nitro")));
        word(data, 4, 0xDA);
        text(data, 5, "ipfs://app");
        word(data, 6, 1);
        word(data, 7, 1_700_000_000);
        word(data, 8, 2);
        word(data, 9, 0xCAFE);
        vm.assertEq(data.length, (1 + 9 + 2) * 32);
    }

    function test_place_of_each_field_of_a_version() public {
        vm.warp(1_700_000_000);
        uint256 id = enroll(appId);
        registry.deprecateVersion(appId, id);
        bytes memory data = answer(abi.encodeCall(registry.getVersion, (appId, id)));
        word(data, 0, 0x20);
        word(data, 1, id);
        text(data, 2, "v1");
        word(data, 3, uint256(keccak256("image")));
        text(data, 4, "ipfs://image");
        text(data, 5, "ipfs://audit");
        text(data, 6, "sha256:1");
        text(data, 7, "7");
        word(data, 8, 1);
        word(data, 9, 1_700_000_000);
        word(data, 10, uint160(address(this)));
        vm.assertEq(data.length, (1 + 10 + 10) * 32);
    }

    function test_place_of_each_field_of_an_instance() public {
        vm.warp(1_700_000_000);
        uint256 id = node(address(0x1111));
        registry.failInstance(id);
        bytes memory data = answer(abi.encodeCall(registry.getInstance, (id)));
        word(data, 0, 0x20);
        word(data, 1, id);
        word(data, 2, appId);
        word(data, 3, versionId);
        word(data, 4, 0x09);
        text(data, 5, "https://node");
        text(data, 6, string(hex"3076"));
        word(data, 7, 0x1111);
        word(data, 8, 1);
        word(data, 9, 2);
        word(data, 10, 1_700_000_000);
        vm.assertEq(data.length, (1 + 10 + 4) * 32);
        vm.assertEq(answer(abi.encodeCall(registry.getInstanceByWallet, (address(0x1111)))), data);
    }

    /// A struct without text or bytes comes as its fields, without an offset.
    function test_place_of_each_field_of_an_anchor() public {
        vm.warp(1_700_000_000);
        node(address(0x1111));
        vm.prank(address(0x1111));
        kms.setMasterSecretHash(HASH);
        vm.prank(address(0x1111));
        kms.anchorSnapshot(keccak256("manifest"), 1_700_000_001);
        bytes memory expected = abi.encode(keccak256("manifest"), uint256(1_700_000_001), address(0x1111));
        (bool ok, bytes memory data) = address(kms).staticcall(abi.encodeCall(kms.newestSnapshotAnchor, ()));
        vm.assertTrue(ok);
        vm.assertEq(data, expected);
        (ok, data) = address(kms).staticcall(abi.encodeCall(kms.snapshotAnchor, (address(0x1111))));
        vm.assertTrue(ok);
        vm.assertEq(data, expected);
    }

    function selector(bytes4 actual, string memory signature) private pure {
        vm.assertEq(actual, bytes4(keccak256(bytes(signature))));
    }

    function answer(bytes memory call) private view returns (bytes memory) {
        (bool ok, bytes memory data) = address(registry).staticcall(call);
        vm.assertTrue(ok);
        return data;
    }

    function wordAt(bytes memory data, uint256 offset) private pure returns (uint256 value) {
        assembly {
            value := mload(add(add(data, 32), offset))
        }
    }

    function word(bytes memory data, uint256 index, uint256 expected) private pure {
        vm.assertEq(wordAt(data, index * 32), expected);
    }

    /// A dynamic field: its word is an offset from the start of the tuple, to the length.
    function text(bytes memory data, uint256 index, string memory expected) private pure {
        uint256 start = 32 + wordAt(data, index * 32);
        vm.assertEq(wordAt(data, start), bytes(expected).length);
        bytes32 padded = bytes32(bytes(expected));
        vm.assertEq(bytes32(wordAt(data, start + 32)), padded);
    }
}
