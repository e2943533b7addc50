// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {KMSRegistry} from "../src/KMSRegistry.sol";
import {IKMSRegistry} from "../src/interfaces/IKMSRegistry.sol";
import {Fixture} from "./support/Fixture.sol";
import {vm} from "./support/Vm.sol";

/// Who may anchor a snapshot, at which times, and what the views say of it.
contract KMSRegistryAnchorTest is Fixture {
    address private constant WALLET = address(0x1111);
    address private constant OTHER = address(0x2222);
    bytes32 private constant MANIFEST = keccak256("a manifest");
    uint64 private constant NOW = 1_700_000_000;
    uint64 private constant LEAD = 300;

    uint256 private instanceId;

    function setUp() public override {
        super.setUp();
        vm.warp(NOW);
        instanceId = node(WALLET);
        node(OTHER);
        vm.prank(WALLET);
        kms.setMasterSecretHash(HASH);
    }

    function test_a_member_anchors() public {
        vm.expectEmit(address(kms));
        emit IKMSRegistry.SnapshotAnchored(WALLET, MANIFEST, NOW);
        anchor(WALLET, MANIFEST, NOW);
        check(kms.snapshotAnchor(WALLET), MANIFEST, NOW, WALLET);
        check(kms.newestSnapshotAnchor(), MANIFEST, NOW, WALLET);
        check(kms.snapshotAnchor(OTHER), 0, 0, address(0));
    }

    function test_nothing_is_anchored_at_first() public view {
        check(kms.newestSnapshotAnchor(), 0, 0, address(0));
        check(kms.snapshotAnchor(WALLET), 0, 0, address(0));
        check(kms.snapshotAnchor(address(0)), 0, 0, address(0));
    }

    function test_times_of_a_member_rise() public {
        anchor(WALLET, MANIFEST, NOW);
        refused(WALLET, NOW, IKMSRegistry.AnchorTimeNotRising.selector);
        refused(WALLET, NOW - 1, IKMSRegistry.AnchorTimeNotRising.selector);
        refused(WALLET, 0, IKMSRegistry.AnchorTimeNotRising.selector);
        refused(OTHER, 0, IKMSRegistry.AnchorTimeNotRising.selector);
        anchor(WALLET, keccak256("another"), NOW + 1);
        check(kms.snapshotAnchor(WALLET), keccak256("another"), NOW + 1, WALLET);
    }

    function test_times_are_at_most_five_minutes_ahead() public {
        bytes4 refusal = IKMSRegistry.AnchorTimeTooFarAhead.selector;
        refused(WALLET, NOW + LEAD + 1, refusal);
        refused(WALLET, type(uint64).max, refusal);
        anchor(WALLET, MANIFEST, NOW + LEAD);
        vm.warp(NOW + 1);
        refused(WALLET, NOW + LEAD + 2, refusal);
        anchor(WALLET, MANIFEST, NOW + LEAD + 1);
    }

    function test_the_newest_of_all_is_that_with_the_newest_time() public {
        anchor(WALLET, MANIFEST, NOW);
        anchor(OTHER, keccak256("older"), NOW - 1);
        check(kms.newestSnapshotAnchor(), MANIFEST, NOW, WALLET);
        check(kms.snapshotAnchor(OTHER), keccak256("older"), NOW - 1, OTHER);
        anchor(OTHER, keccak256("as old"), NOW);
        check(kms.newestSnapshotAnchor(), MANIFEST, NOW, WALLET);
        anchor(OTHER, keccak256("newer"), NOW + 1);
        check(kms.newestSnapshotAnchor(), keccak256("newer"), NOW + 1, OTHER);
        anchor(OTHER, keccak256("newest"), NOW + 2);
        check(kms.newestSnapshotAnchor(), keccak256("newest"), NOW + 2, OTHER);
        check(kms.snapshotAnchor(WALLET), MANIFEST, NOW, WALLET);
    }

    /// The one time that it is needed is when every member is gone.
    function test_an_anchor_outlives_its_member() public {
        anchor(WALLET, MANIFEST, NOW);
        registry.failInstance(instanceId);
        check(kms.newestSnapshotAnchor(), MANIFEST, NOW, WALLET);
        check(kms.snapshotAnchor(WALLET), MANIFEST, NOW, WALLET);
        refused(WALLET, NOW + 1, IKMSRegistry.NotAuthorizedToAnchor.selector);
    }

    function test_a_reset_begins_anew_and_the_same_secret_goes_on() public {
        anchor(WALLET, MANIFEST, NOW);
        kms.resetMasterSecretHash();
        check(kms.newestSnapshotAnchor(), 0, 0, address(0));
        check(kms.snapshotAnchor(WALLET), 0, 0, address(0));
        refused(WALLET, NOW + 1, IKMSRegistry.NotAuthorizedToAnchor.selector);
        vm.prank(WALLET);
        kms.setMasterSecretHash(keccak256("another"));
        check(kms.newestSnapshotAnchor(), 0, 0, address(0));
        anchor(WALLET, MANIFEST, NOW - 10);
        check(kms.newestSnapshotAnchor(), MANIFEST, NOW - 10, WALLET);
        kms.resetMasterSecretHash();
        vm.prank(OTHER);
        kms.setMasterSecretHash(HASH);
        check(kms.newestSnapshotAnchor(), MANIFEST, NOW, WALLET);
        refused(WALLET, NOW, IKMSRegistry.AnchorTimeNotRising.selector);
    }

    function test_owner_registry_and_strangers_may_not() public {
        bytes4 refusal = IKMSRegistry.NotAuthorizedToAnchor.selector;
        refused(address(this), NOW, refusal);
        refused(address(registry), NOW, refusal);
        refused(STRANGER, NOW, refusal);
        refused(address(0), NOW, refusal);
    }

    function test_a_stopped_or_unverified_instance_may_not() public {
        registry.setZkVerified(instanceId, false);
        refused(WALLET, NOW, IKMSRegistry.NotAuthorizedToAnchor.selector);
        registry.setZkVerified(instanceId, true);
        anchor(WALLET, MANIFEST, NOW);
        registry.stopInstance(instanceId);
        refused(WALLET, NOW + 1, IKMSRegistry.NotAuthorizedToAnchor.selector);
    }

    /// Nodes of a deprecated version are members until it is revoked.
    function test_an_instance_of_a_deprecated_version_may_and_of_a_revoked_one_may_not() public {
        registry.deprecateVersion(appId, versionId);
        anchor(WALLET, MANIFEST, NOW);
        registry.revokeVersion(appId, versionId);
        refused(WALLET, NOW + 1, IKMSRegistry.NotAuthorizedToAnchor.selector);
    }

    function test_an_instance_of_another_app_may_not() public {
        uint256 other = createApp(address(0));
        register(other, enroll(other), address(0x3333));
        refused(address(0x3333), NOW, IKMSRegistry.NotAuthorizedToAnchor.selector);
    }

    function test_nobody_may_while_there_is_no_secret_or_no_app() public {
        kms = new KMSRegistry(address(this), address(registry));
        refused(WALLET, NOW, IKMSRegistry.NotAuthorizedToAnchor.selector);
        kms.setKmsAppId(appId);
        refused(WALLET, NOW, IKMSRegistry.NotAuthorizedToAnchor.selector);
        vm.prank(WALLET);
        kms.setMasterSecretHash(HASH);
        anchor(WALLET, MANIFEST, NOW);
    }

    function test_fuzz_an_anchor_counts_exactly_when_its_time_may(uint64 first, uint64 second) public {
        first = uint64(1 + uint256(first) % (NOW + LEAD));
        anchor(WALLET, MANIFEST, first);
        vm.prank(WALLET);
        (bool ok,) = address(kms).call(abi.encodeCall(kms.anchorSnapshot, (HASH, second)));
        vm.assertEq(ok, second > first && second <= NOW + LEAD);
        vm.assertEq(kms.newestSnapshotAnchor().time, ok ? second : first);
    }

    function anchor(address wallet, bytes32 manifest, uint64 time) private {
        vm.prank(wallet);
        kms.anchorSnapshot(manifest, time);
    }

    function refused(address wallet, uint64 time, bytes4 refusal) private {
        vm.expectRevert(refusal);
        anchor(wallet, MANIFEST, time);
    }

    function check(IKMSRegistry.SnapshotAnchor memory got, bytes32 manifest, uint64 time, address member) private pure {
        vm.assertEq(got.manifest, manifest);
        vm.assertEq(uint256(got.time), time);
        vm.assertEq(got.member, member);
    }
}
