// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IKMSRegistry} from "./interfaces/IKMSRegistry.sol";
import {INovaAppRegistry} from "./interfaces/INovaAppRegistry.sol";
import {AddressSet} from "./lib/AddressSet.sol";

/// @title Trust root of one KMS cluster
/// @notice Not upgradeable, no transfer of ownership. The owner names the registry and, once, the
/// KMS application; verified instances of that application publish the hash of their secret, and
/// anchor what they keep outside of themselves.
contract KMSRegistry is IKMSRegistry {
    using AddressSet for AddressSet.Set;

    /// @inheritdoc IKMSRegistry
    address public immutable OWNER;
    /// @inheritdoc IKMSRegistry
    address public novaAppRegistry;
    /// @inheritdoc IKMSRegistry
    uint256 public kmsAppId;
    /// @inheritdoc IKMSRegistry
    bytes32 public masterSecretHash;

    /// How far ahead of the block the time of an anchor may be, in seconds.
    uint256 private constant MAX_ANCHOR_LEAD = 300;

    AddressSet.Set private _operators;
    /// By hash of the master secret, then by member: after a reset nothing of another secret counts.
    mapping(bytes32 => mapping(address => SnapshotAnchor)) private _anchors;
    /// By hash of the master secret: the member whose anchor is the newest.
    mapping(bytes32 => address) private _newestAnchorer;

    modifier onlyOwner() {
        if (msg.sender != OWNER) revert NotOwner();
        _;
    }

    /// What the registry says counts for the KMS application alone; there is no application 0.
    modifier onlyRegistryFor(uint256 appId) {
        if (msg.sender != novaAppRegistry) revert OnlyNovaAppRegistry();
        if (appId == 0 || appId != kmsAppId) revert AppIdMismatch();
        _;
    }

    /// @param initialOwner owner for the contract's whole life
    /// @param appRegistry address of the NovaAppRegistry, not zero (InvalidRegistryAddress)
    constructor(address initialOwner, address appRegistry) {
        OWNER = initialOwner;
        _setRegistry(appRegistry);
    }

    /// @inheritdoc IKMSRegistry
    function setNovaAppRegistry(address registry) external onlyOwner {
        _setRegistry(registry);
    }

    /// @inheritdoc IKMSRegistry
    function setKmsAppId(uint256 appId) external onlyOwner {
        if (kmsAppId != 0) revert AppIdAlreadySet();
        if (appId == 0) revert AppIdMismatch();
        kmsAppId = appId;
        emit KmsAppIdSet(appId);
    }

    /// @inheritdoc IKMSRegistry
    function setMasterSecretHash(bytes32 hash) external {
        if (masterSecretHash != 0) revert MasterSecretHashAlreadySet();
        if (hash == 0 || !_isMember(msg.sender, INovaAppRegistry.VersionStatus.ENROLLED)) {
            revert NotAuthorizedToSetHash();
        }
        masterSecretHash = hash;
        emit MasterSecretHashSet(hash, msg.sender);
    }

    /// @inheritdoc IKMSRegistry
    function resetMasterSecretHash() external onlyOwner {
        masterSecretHash = 0;
        emit MasterSecretHashReset(msg.sender);
    }

    /// @inheritdoc IKMSRegistry
    function anchorSnapshot(bytes32 manifest, uint64 time) external {
        bytes32 hash = masterSecretHash;
        if (hash == 0 || !_isMember(msg.sender, INovaAppRegistry.VersionStatus.DEPRECATED)) {
            revert NotAuthorizedToAnchor();
        }
        // That a validator can move a block's time by seconds does not matter here.
        // forge-lint: disable-next-line(block-timestamp)
        if (time > block.timestamp + MAX_ANCHOR_LEAD) revert AnchorTimeTooFarAhead();
        if (time <= _anchors[hash][msg.sender].time) revert AnchorTimeNotRising();
        if (time > _anchors[hash][_newestAnchorer[hash]].time) _newestAnchorer[hash] = msg.sender;
        _anchors[hash][msg.sender] = SnapshotAnchor({manifest: manifest, time: time, member: msg.sender});
        emit SnapshotAnchored(msg.sender, manifest, time);
    }

    /// @inheritdoc IKMSRegistry
    function snapshotAnchor(address member) external view returns (SnapshotAnchor memory) {
        return _anchors[masterSecretHash][member];
    }

    /// @inheritdoc IKMSRegistry
    function newestSnapshotAnchor() external view returns (SnapshotAnchor memory) {
        bytes32 hash = masterSecretHash;
        return _anchors[hash][_newestAnchorer[hash]];
    }

    /// @inheritdoc IKMSRegistry
    function addOperator(address teeWallet, uint256 appId, uint256 versionId, uint256 instanceId)
        external
        onlyRegistryFor(appId)
    {
        if (_operators.add(teeWallet)) emit OperatorAdded(teeWallet, appId, versionId, instanceId);
    }

    /// @inheritdoc IKMSRegistry
    function removeOperator(address teeWallet, uint256 appId, uint256 versionId, uint256 instanceId)
        external
        onlyRegistryFor(appId)
    {
        if (_operators.remove(teeWallet)) emit OperatorRemoved(teeWallet, appId, versionId, instanceId);
    }

    /// @inheritdoc IKMSRegistry
    function isOperator(address wallet) external view returns (bool) {
        return _operators.contains(wallet);
    }

    /// @inheritdoc IKMSRegistry
    function operatorCount() external view returns (uint256) {
        return _operators.members.length;
    }

    /// @inheritdoc IKMSRegistry
    function operatorAt(uint256 index) external view returns (address) {
        return _operators.members[index];
    }

    /// @inheritdoc IKMSRegistry
    function getOperators() external view returns (address[] memory) {
        return _operators.members;
    }

    function _setRegistry(address registry) private {
        if (registry == address(0)) revert InvalidRegistryAddress();
        novaAppRegistry = registry;
        emit NovaAppRegistrySet(registry);
    }

    /// Whether a wallet is that of a verified instance of the KMS application, of a version that is no
    /// worse than `worst`. A call to an address without code would revert here, not in the catch: asked first.
    function _isMember(address wallet, INovaAppRegistry.VersionStatus worst) private view returns (bool) {
        if (kmsAppId == 0 || novaAppRegistry.code.length == 0) return false;
        try INovaAppRegistry(novaAppRegistry).getInstanceByWallet(wallet) returns (
            INovaAppRegistry.RuntimeInstance memory instance
        ) {
            return instance.id != 0 && instance.teeWalletAddress == wallet && instance.appId == kmsAppId
                && instance.status == INovaAppRegistry.InstanceStatus.ACTIVE && instance.zkVerified
                && _isNoWorse(instance.versionId, worst);
        } catch {
            return false;
        }
    }

    function _isNoWorse(uint256 versionId, INovaAppRegistry.VersionStatus worst) private view returns (bool) {
        try INovaAppRegistry(novaAppRegistry).getVersion(kmsAppId, versionId) returns (
            INovaAppRegistry.AppVersion memory version
        ) {
            // An unknown version may come as an all-zero struct, whose status reads ENROLLED.
            return version.id == versionId && versionId != 0 && version.status <= worst;
        } catch {
            return false;
        }
    }
}
