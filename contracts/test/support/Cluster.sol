// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {KMSRegistry} from "../../src/KMSRegistry.sol";
import {NovaAppRegistry} from "../../src/NovaAppRegistry.sol";
import {INovaAppRegistry} from "../../src/interfaces/INovaAppRegistry.sol";
import {vm} from "./Vm.sol";

/// @title Random life of a cluster, beside a model of its own of who may do what
/// @notice Six wallets; two versions of the KMS application and one of another application, whose
/// contract is the KMS registry too. The model never asks the contracts.
contract Cluster {
    enum State {
        NONE,
        ACTIVE,
        ENDED
    }

    struct Node {
        State state;
        uint256 id;
        uint256 slot;
        bool verified;
    }

    uint256 public constant WALLETS = 6;
    uint256 private constant SLOTS = 3;

    NovaAppRegistry public immutable REGISTRY;
    KMSRegistry public immutable KMS;
    uint256 public immutable KMS_APP;

    bytes32 public hash;
    /// By secret: the newest time that anybody has anchored, and who; by secret and wallet: its last time.
    mapping(bytes32 => uint64) public newestTime;
    mapping(bytes32 => address) public newestMember;
    mapping(bytes32 => mapping(address => uint64)) public times;
    uint256[SLOTS] private _app;
    uint256[SLOTS] private _version;
    INovaAppRegistry.VersionStatus[SLOTS] private _status;
    mapping(uint256 => Node) private _nodes;

    constructor() {
        REGISTRY = new NovaAppRegistry(address(this));
        KMS = new KMSRegistry(address(this), address(REGISTRY));
        KMS_APP = REGISTRY.createApp(address(this), 0, address(KMS), "", address(0));
        uint256 other = REGISTRY.createApp(address(this), 0, address(KMS), "", address(0));
        KMS.setKmsAppId(KMS_APP);
        (_app[0], _app[1], _app[2]) = (KMS_APP, KMS_APP, other);
        for (uint256 slot = 0; slot < SLOTS; ++slot) {
            enroll(slot);
        }
    }

    function register(uint256 who, uint256 slot, bool verified) external {
        (who, slot) = (who % WALLETS, slot % SLOTS);
        Node storage node = _nodes[who];
        bool allowed = node.state != State.ACTIVE && _status[slot] == INovaAppRegistry.VersionStatus.ENROLLED;
        try REGISTRY.registerInstance(_app[slot], _version[slot], address(0), "", "", wallet(who), verified) returns (
            uint256 id
        ) {
            vm.assertTrue(allowed, "registered against the rules");
            _nodes[who] = Node(State.ACTIVE, id, slot, verified);
        } catch {
            vm.assertTrue(!allowed, "refused against the rules");
        }
    }

    function end(uint256 who, bool failed) external {
        Node storage node = _nodes[who % WALLETS];
        if (node.state != State.ACTIVE) return;
        node.state = State.ENDED;
        if (failed) REGISTRY.failInstance(node.id);
        else REGISTRY.stopInstance(node.id);
    }

    function verify(uint256 who, bool verified) external {
        Node storage node = _nodes[who % WALLETS];
        if (node.state == State.NONE) return;
        node.verified = verified;
        REGISTRY.setZkVerified(node.id, verified);
    }

    /// Deprecates or revokes a version; a revoked one is followed by a new one in its place, when nobody
    /// is on it any more.
    function age(uint256 slot) external {
        slot %= SLOTS;
        if (_status[slot] == INovaAppRegistry.VersionStatus.ENROLLED) {
            _status[slot] = INovaAppRegistry.VersionStatus.DEPRECATED;
            REGISTRY.deprecateVersion(_app[slot], _version[slot]);
        } else if (_status[slot] == INovaAppRegistry.VersionStatus.DEPRECATED) {
            _status[slot] = INovaAppRegistry.VersionStatus.REVOKED;
            REGISTRY.revokeVersion(_app[slot], _version[slot]);
        } else if (!inUse(slot)) {
            enroll(slot);
        }
    }

    function setHash(uint256 who, bytes32 next) external {
        who %= WALLETS;
        vm.prank(wallet(who));
        try KMS.setMasterSecretHash(next) {
            vm.assertTrue(eligible(who), "set by who may not");
            vm.assertEq(hash, bytes32(0), "set over another");
            vm.assertTrue(next != 0, "zero set");
            hash = next;
        } catch {
            vm.assertTrue(!eligible(who) || hash != 0 || next == 0, "refused to who may");
        }
    }

    /// Rare, since most of the time a hash stands.
    function resetHash(uint256 dice) external {
        if (dice % 4 != 0) return;
        KMS.resetMasterSecretHash();
        hash = 0;
    }

    /// At a time around that of the block.
    function anchor(uint256 who, bytes32 manifest, uint256 shift) external {
        who %= WALLETS;
        uint64 time = uint64(block.timestamp + shift % 700);
        bool may = member(who) && hash != 0 && time <= block.timestamp + 300 && time > times[hash][wallet(who)];
        vm.prank(wallet(who));
        try KMS.anchorSnapshot(manifest, time) {
            vm.assertTrue(may, "anchored against the rules");
            times[hash][wallet(who)] = time;
            if (time > newestTime[hash]) (newestTime[hash], newestMember[hash]) = (time, wallet(who));
        } catch {
            vm.assertTrue(!may, "refused to anchor against the rules");
        }
    }

    /// Nobody but the registry moves the list, nobody but the owner resets.
    function intrude(uint256 who, address caller) external {
        if (caller == address(this) || caller == address(REGISTRY)) return;
        vm.prank(caller);
        try KMS.addOperator(wallet(who % WALLETS), KMS_APP, 1, 1) {
            vm.assertTrue(false, "a stranger added");
        } catch {}
        vm.prank(caller);
        try KMS.removeOperator(wallet(who % WALLETS), KMS_APP, 1, 1) {
            vm.assertTrue(false, "a stranger removed");
        } catch {}
        vm.prank(caller);
        try KMS.resetMasterSecretHash() {
            vm.assertTrue(false, "a stranger reset");
        } catch {}
    }

    /// Whether, by the model, a wallet is that of an active instance of the KMS application.
    function isActive(uint256 who) public view returns (bool) {
        return _nodes[who].state == State.ACTIVE && _app[_nodes[who].slot] == KMS_APP;
    }

    function wallet(uint256 who) public pure returns (address) {
        return address(uint160(0x1000 + who));
    }

    function eligible(uint256 who) private view returns (bool) {
        return
            isActive(who) && _nodes[who].verified
                && _status[_nodes[who].slot] == INovaAppRegistry.VersionStatus.ENROLLED;
    }

    function member(uint256 who) private view returns (bool) {
        return
            isActive(who) && _nodes[who].verified && _status[_nodes[who].slot] != INovaAppRegistry.VersionStatus.REVOKED;
    }

    function inUse(uint256 slot) private view returns (bool) {
        for (uint256 who = 0; who < WALLETS; ++who) {
            if (_nodes[who].state != State.NONE && _nodes[who].slot == slot) return true;
        }
        return false;
    }

    function enroll(uint256 slot) private {
        _version[slot] = REGISTRY.enrollVersion(_app[slot], "", 0, "", "", "", "");
        _status[slot] = INovaAppRegistry.VersionStatus.ENROLLED;
    }
}
