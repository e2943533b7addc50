// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {INovaAppRegistry} from "./interfaces/INovaAppRegistry.sol";
import {IOperatorCallbacks} from "./interfaces/IOperatorCallbacks.sol";
import {AddressSet} from "./lib/AddressSet.sol";

/// @title NovaAppRegistry for local networks and tests
/// @notice The same views as the platform's. Who may change something is simple here: one owner, fixed
/// at deployment, may do everything, and its word stands for attestation and proofs.
/// An application's dappContract hears of its instances; what it does with that never blocks a change.
contract NovaAppRegistry is INovaAppRegistry {
    using AddressSet for AddressSet.Set;

    /// Gas a callback gets, and what must be left beside it to finish the change.
    uint256 private constant CALLBACK_GAS = 200_000;
    uint256 private constant CALLBACK_RESERVE = 20_000;

    /// @notice Who may change something. Anybody may call.
    address public immutable OWNER;
    /// @notice How many applications there are: the last one's id. Anybody may call.
    uint256 public appCount;
    /// @notice How many instances there are: the last one's id. Anybody may call.
    uint256 public instanceCount;

    mapping(uint256 appId => App) private _apps;
    mapping(uint256 appId => mapping(uint256 versionId => AppVersion)) private _versions;
    mapping(uint256 appId => mapping(uint256 versionId => uint256[])) private _versionInstances;
    mapping(uint256 appId => AddressSet.Set) private _active;
    mapping(uint256 instanceId => RuntimeInstance) private _instances;
    mapping(address teeWallet => uint256 instanceId) private _instanceOf;

    event AppCreated(uint256 indexed appId, address indexed owner, address indexed dappContract);
    event AppStatusSet(uint256 indexed appId, AppStatus status);
    event VersionEnrolled(uint256 indexed appId, uint256 indexed versionId, bytes32 codeMeasurement);
    event VersionStatusSet(uint256 indexed appId, uint256 indexed versionId, VersionStatus status);
    event InstanceRegistered(
        uint256 indexed instanceId, uint256 indexed appId, address indexed teeWallet, uint256 versionId
    );
    event InstanceStatusSet(uint256 indexed instanceId, InstanceStatus status);
    event InstanceZkVerifiedSet(uint256 indexed instanceId, bool zkVerified);
    /// The application's contract refused a callback; the change it was told of stands.
    event CallbackFailed(uint256 indexed appId, uint256 indexed instanceId, address indexed dappContract);

    error NotOwner();
    error AppNotFound(uint256 appId);
    error AppNotActive(uint256 appId);
    error VersionNotFound(uint256 appId, uint256 versionId);
    error VersionNotEnrolled(uint256 appId, uint256 versionId);
    error VersionAlreadyRevoked(uint256 appId, uint256 versionId);
    error InstanceNotFound(uint256 instanceId);
    error InstanceNotActive(uint256 instanceId);
    error InvalidWallet();
    /// The wallet is that of an ACTIVE instance.
    error WalletInUse(address teeWallet);
    /// With the gas given, a callback could fail for want of it.
    error NotEnoughGas();

    modifier onlyOwner() {
        if (msg.sender != OWNER) revert NotOwner();
        _;
    }

    /// @param initialOwner owner for the contract's whole life
    constructor(address initialOwner) {
        OWNER = initialOwner;
    }

    /// @notice Creates an ACTIVE application. Only OWNER.
    /// @param owner the application's owner, as its record shows it
    /// @param teeArch kind of TEE, as the record shows it
    /// @param dappContract contract that gets the callbacks; zero: none
    /// @param metadataUri where the application is described
    /// @param appWallet the application's own wallet; zero: none
    /// @return appId id of the application
    /// @dev Reverts NotOwner.
    function createApp(
        address owner,
        bytes32 teeArch,
        address dappContract,
        string calldata metadataUri,
        address appWallet
    ) external onlyOwner returns (uint256 appId) {
        appId = ++appCount;
        App storage app = _apps[appId];
        app.id = appId;
        app.owner = owner;
        app.teeArch = teeArch;
        app.dappContract = dappContract;
        app.metadataUri = metadataUri;
        app.createdAt = block.timestamp;
        app.appWallet = appWallet;
        emit AppCreated(appId, owner, dappContract);
    }

    /// @notice Sets an application's status. Its instances keep theirs. Only OWNER.
    /// @param appId id of the application
    /// @param status 0 ACTIVE, 1 INACTIVE, 2 REVOKED
    /// @dev Reverts NotOwner, AppNotFound.
    function setAppStatus(uint256 appId, AppStatus status) external onlyOwner {
        _app(appId).status = status;
        emit AppStatusSet(appId, status);
    }

    /// @notice Enrolls a version of an application. Only OWNER.
    /// @param appId id of the application
    /// @param versionName name of the version
    /// @param codeMeasurement measurement of the image
    /// @param imageUri where the image is
    /// @param auditUrl where the audit is
    /// @param auditHash hash of the audit, as text
    /// @param githubRunId run that built the image
    /// @return versionId id of the version within the application
    /// @dev Reverts NotOwner, AppNotFound.
    function enrollVersion(
        uint256 appId,
        string memory versionName,
        bytes32 codeMeasurement,
        string memory imageUri,
        string memory auditUrl,
        string memory auditHash,
        string memory githubRunId
    ) external onlyOwner returns (uint256 versionId) {
        versionId = ++_app(appId).latestVersionId;
        _versions[appId][versionId] = AppVersion({
            id: versionId,
            versionName: versionName,
            codeMeasurement: codeMeasurement,
            imageUri: imageUri,
            auditUrl: auditUrl,
            auditHash: auditHash,
            githubRunId: githubRunId,
            status: VersionStatus.ENROLLED,
            enrolledAt: block.timestamp,
            enrolledBy: msg.sender
        });
        emit VersionEnrolled(appId, versionId, codeMeasurement);
    }

    /// @notice Marks an ENROLLED version as outdated: its instances go on, no new ones. Only OWNER.
    /// @param appId id of the application
    /// @param versionId id of the version within the application
    /// @dev Reverts NotOwner, VersionNotFound, VersionNotEnrolled.
    function deprecateVersion(uint256 appId, uint256 versionId) external onlyOwner {
        if (_version(appId, versionId).status != VersionStatus.ENROLLED) {
            revert VersionNotEnrolled(appId, versionId);
        }
        _setVersionStatus(appId, versionId, VersionStatus.DEPRECATED);
    }

    /// @notice Revokes a version for good. The status of its instances does not change: who asks must look
    /// at the version too. Only OWNER.
    /// @param appId id of the application
    /// @param versionId id of the version within the application
    /// @dev Reverts NotOwner, VersionNotFound, VersionAlreadyRevoked.
    function revokeVersion(uint256 appId, uint256 versionId) external onlyOwner {
        if (_version(appId, versionId).status == VersionStatus.REVOKED) {
            revert VersionAlreadyRevoked(appId, versionId);
        }
        _setVersionStatus(appId, versionId, VersionStatus.REVOKED);
    }

    /// @notice Registers an ACTIVE instance and tells the application's contract (addOperator). A wallet
    /// whose instance was stopped or failed may be registered anew. Only OWNER.
    /// @param appId id of the application, ACTIVE
    /// @param versionId id of the version within the application, ENROLLED
    /// @param operator who runs the instance, as its record shows it
    /// @param instanceUrl where the instance listens
    /// @param teePubkey the instance's encryption key (SPKI, DER)
    /// @param teeWallet the instance's wallet, not zero
    /// @param zkVerified whether the instance counts as verified
    /// @return instanceId id of the instance
    /// @dev Reverts NotOwner, AppNotFound, AppNotActive, VersionNotFound, VersionNotEnrolled,
    /// InvalidWallet, WalletInUse, NotEnoughGas.
    function registerInstance(
        uint256 appId,
        uint256 versionId,
        address operator,
        string memory instanceUrl,
        bytes memory teePubkey,
        address teeWallet,
        bool zkVerified
    ) external onlyOwner returns (uint256 instanceId) {
        if (_app(appId).status != AppStatus.ACTIVE) revert AppNotActive(appId);
        if (_version(appId, versionId).status != VersionStatus.ENROLLED) {
            revert VersionNotEnrolled(appId, versionId);
        }
        if (teeWallet == address(0)) revert InvalidWallet();
        uint256 previous = _instanceOf[teeWallet];
        if (previous != 0 && _instances[previous].status == InstanceStatus.ACTIVE) revert WalletInUse(teeWallet);
        instanceId = ++instanceCount;
        _instances[instanceId] = RuntimeInstance({
            id: instanceId,
            appId: appId,
            versionId: versionId,
            operator: operator,
            instanceUrl: instanceUrl,
            teePubkey: teePubkey,
            teeWalletAddress: teeWallet,
            zkVerified: zkVerified,
            status: InstanceStatus.ACTIVE,
            registeredAt: block.timestamp
        });
        _instanceOf[teeWallet] = instanceId;
        _versionInstances[appId][versionId].push(instanceId);
        _active[appId].add(teeWallet);
        emit InstanceRegistered(instanceId, appId, teeWallet, versionId);
        _tell(instanceId, IOperatorCallbacks.addOperator.selector);
    }

    /// @notice Stops an ACTIVE instance and tells the application's contract (removeOperator). Only OWNER.
    /// @param instanceId id of the instance
    /// @dev Reverts NotOwner, InstanceNotFound, InstanceNotActive, NotEnoughGas.
    function stopInstance(uint256 instanceId) external onlyOwner {
        _endInstance(instanceId, InstanceStatus.STOPPED);
    }

    /// @notice Marks an ACTIVE instance as failed and tells the application's contract (removeOperator).
    /// Only OWNER.
    /// @param instanceId id of the instance
    /// @dev Reverts NotOwner, InstanceNotFound, InstanceNotActive, NotEnoughGas.
    function failInstance(uint256 instanceId) external onlyOwner {
        _endInstance(instanceId, InstanceStatus.FAILED);
    }

    /// @notice Sets whether an instance counts as verified, whatever its status. Only OWNER.
    /// @param instanceId id of the instance
    /// @param zkVerified whether it is verified
    /// @dev Reverts NotOwner, InstanceNotFound.
    function setZkVerified(uint256 instanceId, bool zkVerified) external onlyOwner {
        _instance(instanceId).zkVerified = zkVerified;
        emit InstanceZkVerifiedSet(instanceId, zkVerified);
    }

    /// @inheritdoc INovaAppRegistry
    /// @dev Reverts AppNotFound.
    function getApp(uint256 appId) external view returns (App memory) {
        return _app(appId);
    }

    /// @inheritdoc INovaAppRegistry
    /// @dev Reverts VersionNotFound.
    function getVersion(uint256 appId, uint256 versionId) external view returns (AppVersion memory) {
        return _version(appId, versionId);
    }

    /// @inheritdoc INovaAppRegistry
    /// @dev Reverts InstanceNotFound.
    function getInstance(uint256 instanceId) external view returns (RuntimeInstance memory) {
        return _instance(instanceId);
    }

    /// @inheritdoc INovaAppRegistry
    function getInstanceByWallet(address teeWallet) external view returns (RuntimeInstance memory) {
        return _instances[_instanceOf[teeWallet]];
    }

    /// @inheritdoc INovaAppRegistry
    function getActiveInstances(uint256 appId) external view returns (address[] memory) {
        return _active[appId].members;
    }

    /// @inheritdoc INovaAppRegistry
    function getInstancesForVersion(uint256 appId, uint256 versionId) external view returns (uint256[] memory) {
        return _versionInstances[appId][versionId];
    }

    function _app(uint256 appId) private view returns (App storage app) {
        app = _apps[appId];
        if (app.id == 0) revert AppNotFound(appId);
    }

    function _version(uint256 appId, uint256 versionId) private view returns (AppVersion storage version) {
        version = _versions[appId][versionId];
        if (version.id == 0) revert VersionNotFound(appId, versionId);
    }

    function _instance(uint256 instanceId) private view returns (RuntimeInstance storage instance) {
        instance = _instances[instanceId];
        if (instance.id == 0) revert InstanceNotFound(instanceId);
    }

    function _setVersionStatus(uint256 appId, uint256 versionId, VersionStatus status) private {
        _versions[appId][versionId].status = status;
        emit VersionStatusSet(appId, versionId, status);
    }

    function _endInstance(uint256 instanceId, InstanceStatus status) private {
        RuntimeInstance storage instance = _instance(instanceId);
        if (instance.status != InstanceStatus.ACTIVE) revert InstanceNotActive(instanceId);
        instance.status = status;
        _active[instance.appId].remove(instance.teeWalletAddress);
        emit InstanceStatusSet(instanceId, status);
        _tell(instanceId, IOperatorCallbacks.removeOperator.selector);
    }

    /// Comes last, when all state is written: the callee may call back. Its answer is not copied, so
    /// its size costs nothing here.
    function _tell(uint256 instanceId, bytes4 callback) private {
        RuntimeInstance storage instance = _instances[instanceId];
        address dapp = _apps[instance.appId].dappContract;
        if (dapp.code.length == 0) return;
        // A call gets at most 63/64 of what is left. Without this check an estimate of the gas, which looks
        // for the least that succeeds, would find an amount with which only the callback fails.
        if (gasleft() < CALLBACK_GAS * 64 / 63 + CALLBACK_RESERVE) revert NotEnoughGas();
        if (!_call(dapp, callback, instance)) emit CallbackFailed(instance.appId, instanceId, dapp);
    }

    function _call(address dapp, bytes4 callback, RuntimeInstance storage instance) private returns (bool) {
        IOperatorCallbacks target = IOperatorCallbacks(dapp);
        (address wallet, uint256 appId) = (instance.teeWalletAddress, instance.appId);
        (uint256 versionId, uint256 instanceId) = (instance.versionId, instance.id);
        if (callback == IOperatorCallbacks.addOperator.selector) {
            try target.addOperator{gas: CALLBACK_GAS}(wallet, appId, versionId, instanceId) {
                return true;
            } catch {
                return false;
            }
        }
        try target.removeOperator{gas: CALLBACK_GAS}(wallet, appId, versionId, instanceId) {
            return true;
        } catch {
            return false;
        }
    }
}
