// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {NovaAppRegistry} from "../src/NovaAppRegistry.sol";
import {INovaAppRegistry} from "../src/interfaces/INovaAppRegistry.sol";
import {Fixture} from "./support/Fixture.sol";
import {vm} from "./support/Vm.sol";

/// Instances of the local registry, and what the KMS registry hears of them.
contract NovaAppRegistryInstancesTest is Fixture {
    address private constant WALLET = address(0x1111);

    function test_an_instance_keeps_what_it_was_registered_with() public {
        vm.warp(1_700_000_000);
        vm.expectEmit(address(registry));
        emit NovaAppRegistry.InstanceRegistered(1, appId, WALLET, versionId);
        vm.assertEq(node(WALLET), 1);
        INovaAppRegistry.RuntimeInstance memory instance = registry.getInstance(1);
        vm.assertEq(instance.id, 1);
        vm.assertEq(instance.appId, appId);
        vm.assertEq(instance.versionId, versionId);
        vm.assertEq(instance.operator, address(0x09));
        vm.assertEq(instance.instanceUrl, "https://node");
        vm.assertEq(instance.teePubkey, hex"3076");
        vm.assertEq(instance.teeWalletAddress, WALLET);
        vm.assertTrue(instance.zkVerified);
        vm.assertTrue(instance.status == INovaAppRegistry.InstanceStatus.ACTIVE);
        vm.assertEq(instance.registeredAt, 1_700_000_000);
        vm.assertEq(abi.encode(registry.getInstanceByWallet(WALLET)), abi.encode(instance));
        vm.assertEq(registry.instanceCount(), 1);
    }

    function test_a_registered_instance_is_active_and_an_operator() public {
        node(WALLET);
        vm.assertEq(registry.getActiveInstances(appId).length, 1);
        vm.assertEq(registry.getActiveInstances(appId)[0], WALLET);
        vm.assertEq(registry.getInstancesForVersion(appId, versionId)[0], 1);
        vm.assertTrue(kms.isOperator(WALLET));
    }

    function test_a_stopped_instance_is_neither() public {
        node(WALLET);
        vm.expectEmit(address(registry));
        emit NovaAppRegistry.InstanceStatusSet(1, INovaAppRegistry.InstanceStatus.STOPPED);
        registry.stopInstance(1);
        ended(INovaAppRegistry.InstanceStatus.STOPPED);
    }

    function test_a_failed_instance_is_neither() public {
        node(WALLET);
        vm.expectEmit(address(registry));
        emit NovaAppRegistry.InstanceStatusSet(1, INovaAppRegistry.InstanceStatus.FAILED);
        registry.failInstance(1);
        ended(INovaAppRegistry.InstanceStatus.FAILED);
    }

    function test_an_ended_instance_cannot_end_again() public {
        node(WALLET);
        registry.stopInstance(1);
        bytes memory refusal = abi.encodeWithSelector(NovaAppRegistry.InstanceNotActive.selector, 1);
        vm.expectRevert(refusal);
        registry.stopInstance(1);
        vm.expectRevert(refusal);
        registry.failInstance(1);
    }

    function test_the_wallet_of_an_ended_instance_can_be_registered_anew() public {
        node(WALLET);
        registry.stopInstance(1);
        vm.assertEq(node(WALLET), 2);
        vm.assertEq(registry.getInstanceByWallet(WALLET).id, 2);
        vm.assertTrue(kms.isOperator(WALLET));
        vm.assertEq(registry.getInstancesForVersion(appId, versionId).length, 2);
        vm.assertEq(registry.getActiveInstances(appId).length, 1);
    }

    function test_a_wallet_has_one_active_instance() public {
        node(WALLET);
        bytes memory refusal = abi.encodeWithSelector(NovaAppRegistry.WalletInUse.selector, WALLET);
        refusedToRegister(appId, versionId, WALLET, refusal);
        uint256 other = createApp(address(0));
        refusedToRegister(other, enroll(other), WALLET, refusal);
    }

    function test_registering_needs_app_version_and_wallet() public {
        refusedToRegister(9, 1, WALLET, abi.encodeWithSelector(NovaAppRegistry.AppNotFound.selector, 9));
        refusedToRegister(appId, 9, WALLET, abi.encodeWithSelector(NovaAppRegistry.VersionNotFound.selector, appId, 9));
        bytes memory noWallet = abi.encodeWithSelector(NovaAppRegistry.InvalidWallet.selector);
        refusedToRegister(appId, versionId, address(0), noWallet);
    }

    function test_registering_needs_an_active_app() public {
        bytes memory refusal = abi.encodeWithSelector(NovaAppRegistry.AppNotActive.selector, appId);
        registry.setAppStatus(appId, INovaAppRegistry.AppStatus.INACTIVE);
        refusedToRegister(appId, versionId, WALLET, refusal);
        registry.setAppStatus(appId, INovaAppRegistry.AppStatus.REVOKED);
        refusedToRegister(appId, versionId, WALLET, refusal);
    }

    function test_registering_needs_an_enrolled_version() public {
        bytes memory refusal = abi.encodeWithSelector(NovaAppRegistry.VersionNotEnrolled.selector, appId, versionId);
        registry.deprecateVersion(appId, versionId);
        refusedToRegister(appId, versionId, WALLET, refusal);
        registry.revokeVersion(appId, versionId);
        refusedToRegister(appId, versionId, WALLET, refusal);
    }

    function test_verification_is_set_and_taken_back() public {
        node(WALLET);
        vm.expectEmit(address(registry));
        emit NovaAppRegistry.InstanceZkVerifiedSet(1, false);
        registry.setZkVerified(1, false);
        vm.assertFalse(registry.getInstance(1).zkVerified);
        registry.setZkVerified(1, true);
        vm.assertTrue(registry.getInstance(1).zkVerified);
    }

    function test_an_instance_that_does_not_exist_reverts() public {
        for (uint256 id = 0; id < 2; ++id) {
            bytes memory refusal = abi.encodeWithSelector(NovaAppRegistry.InstanceNotFound.selector, id);
            vm.expectRevert(refusal);
            registry.getInstance(id);
            vm.expectRevert(refusal);
            registry.stopInstance(id);
            vm.expectRevert(refusal);
            registry.failInstance(id);
            vm.expectRevert(refusal);
            registry.setZkVerified(id, true);
        }
    }

    function test_unknown_wallets_and_apps_have_nothing() public view {
        INovaAppRegistry.RuntimeInstance memory none;
        vm.assertEq(abi.encode(registry.getInstanceByWallet(WALLET)), abi.encode(none));
        vm.assertEq(registry.getActiveInstances(99).length, 0);
        vm.assertEq(registry.getInstancesForVersion(appId, 99).length, 0);
    }

    function refusedToRegister(uint256 app, uint256 version, address wallet, bytes memory refusal) private {
        vm.expectRevert(refusal);
        registry.registerInstance(app, version, address(0), "", "", wallet, true);
    }

    function ended(INovaAppRegistry.InstanceStatus status) private view {
        vm.assertTrue(registry.getInstance(1).status == status);
        vm.assertEq(registry.getActiveInstances(appId).length, 0);
        vm.assertEq(registry.getInstancesForVersion(appId, versionId).length, 1);
        vm.assertEq(registry.getInstanceByWallet(WALLET).id, 1);
        vm.assertFalse(kms.isOperator(WALLET));
    }
}
