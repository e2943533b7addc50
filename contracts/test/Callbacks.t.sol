// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {NovaAppRegistry} from "../src/NovaAppRegistry.sol";
import {IOperatorCallbacks} from "../src/interfaces/IOperatorCallbacks.sol";
import {Fixture} from "./support/Fixture.sol";
import {
    GasBurningDapp,
    HungryDapp,
    InvalidDapp,
    ListeningDapp,
    ReentrantDapp,
    RevertingDapp,
    VerboseDapp
} from "./support/OddDapps.sol";
import {Vm, vm} from "./support/Vm.sol";

/// What an application's contract does with a callback never blocks the registry.
contract CallbacksTest is Fixture {
    address private constant WALLET = address(0x1111);

    function test_the_contract_hears_of_beginning_and_end() public {
        ListeningDapp dapp = new ListeningDapp();
        (uint256 app, uint256 id) = registerWith(address(dapp));
        vm.assertEq(dapp.last(), abi.encodeCall(IOperatorCallbacks.addOperator, (WALLET, app, 1, id)));
        registry.stopInstance(id);
        vm.assertEq(dapp.last(), abi.encodeCall(IOperatorCallbacks.removeOperator, (WALLET, app, 1, id)));
        id = register(app, 1, WALLET);
        registry.failInstance(id);
        vm.assertEq(dapp.last(), abi.encodeCall(IOperatorCallbacks.removeOperator, (WALLET, app, 1, id)));
    }

    function test_a_contract_that_reverts_blocks_nothing() public {
        blocksNothing(address(new RevertingDapp()));
    }

    function test_a_contract_that_fails_hard_blocks_nothing() public {
        blocksNothing(address(new InvalidDapp()));
    }

    function test_a_contract_that_burns_gas_burns_no_more_than_its_share() public {
        uint256 before = gasleft();
        blocksNothing(address(new GasBurningDapp()));
        vm.assertTrue(before - gasleft() < 2_500_000, "two callbacks of 200000 gas, and the rest");
    }

    function test_a_contract_that_says_much_blocks_nothing() public {
        blocksNothing(address(new VerboseDapp(true)));
        registerAndStop(address(new VerboseDapp(false)));
    }

    function test_a_contract_that_calls_back_gains_nothing() public {
        ReentrantDapp dapp = new ReentrantDapp(registry);
        (, uint256 id) = registerWith(address(dapp));
        vm.assertTrue(dapp.refused());
        vm.assertTrue(registry.getInstance(id).zkVerified);
    }

    function test_no_contract_is_told_nothing() public {
        registerAndStop(address(0));
        registerAndStop(address(0xE0A));
    }

    function test_a_kms_registry_of_another_app_refuses_and_blocks_nothing() public {
        blocksNothing(address(kms));
        vm.assertEq(kms.operatorCount(), 0);
    }

    /// With little gas a change either fails as a whole or is told of: a callback never fails for want of
    /// gas alone, else a wallet that estimates gas would leave out operators.
    function testFuzz_with_little_gas_the_change_fails_as_a_whole(uint256 gas) public {
        HungryDapp dapp = new HungryDapp();
        uint256 app = createApp(address(dapp));
        enroll(app);
        gas = 300_000 + gas % 400_000;
        (bool ok, bytes memory reason) = address(registry).call{gas: gas}(
            abi.encodeCall(registry.registerInstance, (app, 1, address(0), "", "", WALLET, true))
        );
        vm.assertEq(dapp.heard(), ok);
        vm.assertEq(registry.getActiveInstances(app).length, ok ? 1 : 0);
        if (!ok && reason.length > 0) {
            vm.assertEq(reason, abi.encodeWithSelector(NovaAppRegistry.NotEnoughGas.selector));
        }
    }

    function test_a_change_needs_the_gas_of_its_callback_whoever_listens() public {
        ListeningDapp dapp = new ListeningDapp();
        (uint256 app, uint256 id) = registerWith(address(dapp));
        // Enough for the change, not for the callback.
        (bool ok, bytes memory reason) =
            address(registry).call{gas: 200_000}(abi.encodeCall(registry.stopInstance, (id)));
        vm.assertFalse(ok);
        vm.assertEq(reason, abi.encodeWithSelector(NovaAppRegistry.NotEnoughGas.selector));
        vm.assertEq(registry.getActiveInstances(app).length, 1);
        registry.stopInstance(id);
        vm.assertTrue(dapp.gas() > 195_000, "the callback had its whole share");
    }

    function registerWith(address dapp) private returns (uint256 app, uint256 id) {
        app = createApp(dapp);
        enroll(app);
        id = register(app, 1, WALLET);
    }

    /// Both changes stand, each with an event that the contract refused.
    function blocksNothing(address dapp) private {
        vm.recordLogs();
        (uint256 app, uint256 id) = registerAndStop(dapp);
        uint256 failures;
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] != NovaAppRegistry.CallbackFailed.selector) continue;
            vm.assertEq(uint256(logs[i].topics[1]), app);
            vm.assertEq(uint256(logs[i].topics[2]), id);
            vm.assertEq(address(uint160(uint256(logs[i].topics[3]))), dapp);
            ++failures;
        }
        vm.assertEq(failures, 2);
    }

    function registerAndStop(address dapp) private returns (uint256 app, uint256 id) {
        (app, id) = registerWith(dapp);
        vm.assertEq(registry.getActiveInstances(app)[0], WALLET);
        registry.stopInstance(id);
        vm.assertEq(registry.getActiveInstances(app).length, 0);
    }
}
