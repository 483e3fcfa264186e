//! The calls of `IVssBackupComponents`, which windows-sys lacks: its table of methods by number, from the order in which
//! `vsbackup.h` declares them. The library is loaded when it is asked for, so that the program starts where it is missing.
#![expect(unsafe_code, reason = "an interface of COM is a table of functions")]

use std::ffi::c_void;
use std::mem::{MaybeUninit, transmute, transmute_copy};
use std::ptr::{NonNull, null, null_mut};
use std::time::Duration;

use windows_sys::Win32::Foundation::{GetLastError, SysFreeString};
use windows_sys::Win32::System::Com::{
    COINIT_MULTITHREADED, CoInitializeEx, CoInitializeSecurity, CoUninitialize, EOAC_NONE,
    RPC_C_AUTHN_LEVEL_PKT_PRIVACY, RPC_C_IMP_LEVEL_IDENTIFY,
};
use windows_sys::Win32::System::LibraryLoader::{GetProcAddress, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW};
use windows_sys::core::{BSTR, GUID, HRESULT};

use crate::nt::{self, wide};
use crate::volume_snapshot::vss::{Code, Id, Requester, Step, StepState, Writer};

/// Places in the table of methods; 0 to 2 are `IUnknown`'s.
mod method {
    pub(super) const RELEASE: usize = 2;
    pub(super) const INITIALIZE_FOR_BACKUP: usize = 5;
    pub(super) const SET_BACKUP_STATE: usize = 6;
    pub(super) const GATHER_WRITER_METADATA: usize = 9;
    pub(super) const PREPARE_FOR_BACKUP: usize = 14;
    pub(super) const ABORT_BACKUP: usize = 15;
    pub(super) const GATHER_WRITER_STATUS: usize = 16;
    pub(super) const GET_WRITER_STATUS_COUNT: usize = 17;
    pub(super) const FREE_WRITER_STATUS: usize = 18;
    pub(super) const GET_WRITER_STATUS: usize = 19;
    pub(super) const BACKUP_COMPLETE: usize = 27;
    pub(super) const SET_CONTEXT: usize = 35;
    pub(super) const START_SNAPSHOT_SET: usize = 36;
    pub(super) const ADD_TO_SNAPSHOT_SET: usize = 37;
    pub(super) const DO_SNAPSHOT_SET: usize = 38;
    pub(super) const DELETE_SNAPSHOTS: usize = 39;
    pub(super) const GET_SNAPSHOT_PROPERTIES: usize = 42;
    pub(super) const IS_VOLUME_SUPPORTED: usize = 44;
    /// Of `IVssAsync`.
    pub(super) const CANCEL: usize = 3;
    pub(super) const WAIT: usize = 4;
    pub(super) const QUERY_STATUS: usize = 5;
}

const CONTEXT_ALL: i32 = -1;
/// A copy: no program takes it for the backup that its logs may be cut off behind (`VSS_BT_COPY`).
const BACKUP_TYPE_COPY: i32 = 5;
const OBJECT_SNAPSHOT_SET: i32 = 2;
const ASYNC_PENDING: HRESULT = 0x0004_2309;
const ASYNC_FINISHED: HRESULT = 0x0004_230A;
const ASYNC_CANCELLED: HRESULT = 0x0004_230B;
/// From here on (to 15) a writer's state says where it failed.
const WRITER_FAILED_FIRST: i32 = 6;
const WRITER_FAILED_LAST: i32 = 15;
const NO_PROVIDER: GUID = GUID { data1: 0, data2: 0, data3: 0, data4: [0; 8] };

type This = *mut c_void;
type Plain = unsafe extern "system" fn(This) -> HRESULT;
type ToAsync = unsafe extern "system" fn(This, *mut *mut c_void) -> HRESULT;
type GetWriterStatus =
    unsafe extern "system" fn(This, u32, *mut GUID, *mut GUID, *mut BSTR, *mut i32, *mut HRESULT) -> HRESULT;
type DeleteSnapshots = unsafe extern "system" fn(This, GUID, i32, i32, *mut i32, *mut GUID) -> HRESULT;
type Create = unsafe extern "system" fn(*mut *mut c_void) -> HRESULT;
type FreeProperties = unsafe extern "system" fn(*mut Properties);

/// `VSS_SNAPSHOT_PROP`.
#[repr(C)]
struct Properties {
    snapshot: GUID,
    set: GUID,
    count: i32,
    device: *mut u16,
    original_volume: *mut u16,
    originating_machine: *mut u16,
    service_machine: *mut u16,
    exposed_name: *mut u16,
    exposed_path: *mut u16,
    provider: GUID,
    attributes: i32,
    created: i64,
    status: i32,
}

fn check(result: HRESULT) -> Result<(), Code> {
    if result >= 0 { Ok(()) } else { Err(Code(result as u32)) }
}

/// This thread's use of COM.
#[derive(Debug)]
pub(super) struct Apartment(());

impl Apartment {
    /// Enters the one of all threads. A thread that is in another already cannot.
    pub(super) fn enter() -> Result<Self, Code> {
        // SAFETY: nothing but flags goes in.
        check(unsafe { CoInitializeEx(null(), COINIT_MULTITHREADED as u32) })?;
        // Writers call back, and the service must be able to tell who we are. Said once for the whole process; too late is no
        // harm, as then somebody said it before or the system's own choice holds.
        // SAFETY: every pointer may be null.
        let _ = unsafe {
            CoInitializeSecurity(
                null_mut(),
                -1,
                null(),
                null(),
                RPC_C_AUTHN_LEVEL_PKT_PRIVACY,
                RPC_C_IMP_LEVEL_IDENTIFY,
                null(),
                EOAC_NONE as u32,
                null(),
            )
        };
        Ok(Self(()))
    }
}

impl Drop for Apartment {
    fn drop(&mut self) {
        // SAFETY: entered on this thread, as the type is not sent to others by those who use it.
        unsafe { CoUninitialize() }
    }
}

/// The library's two functions; it stays loaded.
struct Library {
    create: Create,
    free_properties: FreeProperties,
}

impl Library {
    fn load() -> Result<Self, Code> {
        let name = wide("vssapi.dll");
        // SAFETY: the text ends with a zero; only the system's own folder is looked in.
        let library = unsafe { LoadLibraryExW(name.as_ptr(), null_mut(), LOAD_LIBRARY_SEARCH_SYSTEM32) };
        if library.is_null() {
            return Err(last_error());
        }
        // SAFETY: the names end with a zero, and the functions have these types by the library's documentation.
        unsafe {
            let create = GetProcAddress(library, c"CreateVssBackupComponentsInternal".as_ptr().cast());
            let free = GetProcAddress(library, c"VssFreeSnapshotPropertiesInternal".as_ptr().cast());
            match (create, free) {
                (Some(create), Some(free)) => Ok(Self {
                    create: transmute::<unsafe extern "system" fn() -> isize, Create>(create),
                    free_properties: transmute::<unsafe extern "system" fn() -> isize, FreeProperties>(free),
                }),
                _ => Err(last_error()),
            }
        }
    }
}

/// The thread's last error as COM would tell it.
fn last_error() -> Code {
    // SAFETY: nothing goes in and a number comes out.
    let error = unsafe { GetLastError() };
    Code(0x8007_0000 | (error & 0xFFFF))
}

/// An object of COM that is ours.
#[derive(Debug)]
struct Object(NonNull<c_void>);

impl Object {
    /// Calls `make`, which gives an object on success.
    ///
    /// # Safety
    /// What it gives must be an object that is handed over.
    unsafe fn from(make: impl FnOnce(*mut *mut c_void) -> HRESULT) -> Result<Self, Code> {
        let mut object = null_mut();
        check(make(&raw mut object))?;
        NonNull::new(object).map(Self).ok_or(Code(0x8000_4003))
    }

    /// A method by its place in the table.
    ///
    /// # Safety
    /// `F` must be the type of that method's function.
    unsafe fn method<F: Copy>(&self, number: usize) -> F {
        const { assert!(size_of::<F>() == size_of::<*const c_void>()) };
        // SAFETY: an object begins with a pointer to the table of its methods, and the caller vouches for place and type.
        unsafe {
            let table = *self.0.as_ptr().cast::<*const *const c_void>();
            transmute_copy(&*table.add(number))
        }
    }

    fn this(&self) -> This {
        self.0.as_ptr()
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: the object is ours and is used no more.
        unsafe { self.method::<unsafe extern "system" fn(This) -> u32>(method::RELEASE)(self.this()) };
    }
}

/// One backup's conversation with the service.
pub(super) struct Components {
    /// Dropped first, as it belongs to the object.
    pending: Option<Object>,
    object: Object,
    free_properties: FreeProperties,
}

impl Components {
    /// For making snapshots. The apartment must outlive it, which the thread that has both sees to.
    pub(super) fn for_backup(_apartment: &Apartment) -> Result<Self, Code> {
        let components = Self::create()?;
        type SetBackupState = unsafe extern "system" fn(This, bool, bool, i32, bool) -> HRESULT;
        // SAFETY: the type is that method's: no single components, no system state, a copy, whole files.
        check(unsafe {
            let set = components.object.method::<SetBackupState>(method::SET_BACKUP_STATE);
            set(components.object.this(), false, false, BACKUP_TYPE_COPY, false)
        })?;
        Ok(components)
    }

    /// For deleting snapshots of any kind.
    pub(super) fn for_all(_apartment: &Apartment) -> Result<Self, Code> {
        let components = Self::create()?;
        // SAFETY: the type is that method's.
        check(unsafe {
            let set = components.object.method::<unsafe extern "system" fn(This, i32) -> HRESULT>(method::SET_CONTEXT);
            set(components.object.this(), CONTEXT_ALL)
        })?;
        Ok(components)
    }

    fn create() -> Result<Self, Code> {
        nt::use_privileges();
        let Library { create, free_properties } = Library::load()?;
        // SAFETY: the function hands over an object.
        let object = unsafe { Object::from(|object| create(object)) }?;
        let components = Self { pending: None, object, free_properties };
        // SAFETY: the type is that method's; a backup begins without a document.
        check(unsafe {
            let initialize = components
                .object
                .method::<unsafe extern "system" fn(This, BSTR) -> HRESULT>(method::INITIALIZE_FOR_BACKUP);
            initialize(components.object.this(), null())
        })?;
        Ok(components)
    }

    fn writers(&self) -> Result<Vec<Writer>, Code> {
        let mut count = 0;
        // SAFETY: the type is that method's, and the number lives until the call returns.
        check(unsafe {
            let get = self
                .object
                .method::<unsafe extern "system" fn(This, *mut u32) -> HRESULT>(method::GET_WRITER_STATUS_COUNT);
            get(self.object.this(), &raw mut count)
        })?;
        (0..count).filter_map(|number| self.writer(number).transpose()).collect()
    }

    /// One writer, when it is in trouble.
    fn writer(&self, number: u32) -> Result<Option<Writer>, Code> {
        let (mut instance, mut class, mut name): (GUID, GUID, BSTR) = (NO_PROVIDER, NO_PROVIDER, null());
        let (mut state, mut failure) = (0, 0);
        // SAFETY: the type is that method's, and every pointer is to a value that lives until the call returns. The name is
        // handed over, ends with a zero, and is given back.
        let name = unsafe {
            let get = self.object.method::<GetWriterStatus>(method::GET_WRITER_STATUS);
            check(get(
                self.object.this(),
                number,
                &raw mut instance,
                &raw mut class,
                &raw mut name,
                &raw mut state,
                &raw mut failure,
            ))?;
            let text = if name.is_null() { String::new() } else { nt::text_of(name) };
            SysFreeString(name);
            text
        };
        let failed = failure < 0 || (WRITER_FAILED_FIRST..=WRITER_FAILED_LAST).contains(&state);
        Ok(failed.then(|| Writer { name, code: Code(failure as u32) }))
    }
}

impl Requester for Components {
    fn start(&mut self, step: Step) -> Result<(), Code> {
        let number = match step {
            Step::GatherMetadata => method::GATHER_WRITER_METADATA,
            Step::Prepare => method::PREPARE_FOR_BACKUP,
            Step::Make => method::DO_SNAPSHOT_SET,
            Step::GatherStatus => method::GATHER_WRITER_STATUS,
            Step::Complete => method::BACKUP_COMPLETE,
        };
        self.pending = None;
        // SAFETY: each of these methods has this type and hands over an object.
        self.pending = Some(unsafe {
            let start = self.object.method::<ToAsync>(number);
            Object::from(|pending| start(self.object.this(), pending))
        }?);
        Ok(())
    }

    fn wait(&mut self, at_most: Duration) -> Result<StepState, Code> {
        let Some(pending) = &self.pending else { return Ok(StepState::Cancelled) };
        let milliseconds = u32::try_from(at_most.as_millis()).unwrap_or(u32::MAX);
        let (mut result, mut reserved) = (0, 0);
        // SAFETY: the types are those methods', and the numbers live until the calls return.
        unsafe {
            let wait = pending.method::<unsafe extern "system" fn(This, u32) -> HRESULT>(method::WAIT);
            check(wait(pending.this(), milliseconds))?;
            let query = pending
                .method::<unsafe extern "system" fn(This, *mut HRESULT, *mut i32) -> HRESULT>(method::QUERY_STATUS);
            check(query(pending.this(), &raw mut result, &raw mut reserved))?;
        }
        match result {
            ASYNC_PENDING => Ok(StepState::Pending),
            ASYNC_CANCELLED => Ok(StepState::Cancelled),
            ASYNC_FINISHED => Ok(StepState::Done),
            other => check(other).map(|()| StepState::Done),
        }
    }

    fn cancel(&mut self) {
        if let Some(pending) = self.pending.take() {
            // SAFETY: the type is that method's.
            let _ = unsafe { pending.method::<Plain>(method::CANCEL)(pending.this()) };
        }
    }

    fn is_supported(&mut self, root: &str) -> Result<bool, Code> {
        type IsVolumeSupported = unsafe extern "system" fn(This, GUID, *const u16, *mut i32) -> HRESULT;
        let (root, mut supported) = (wide(root), 0);
        // SAFETY: the type is that method's, the text ends with a zero, and the number lives until the call returns.
        check(unsafe {
            let ask = self.object.method::<IsVolumeSupported>(method::IS_VOLUME_SUPPORTED);
            ask(self.object.this(), NO_PROVIDER, root.as_ptr(), &raw mut supported)
        })?;
        Ok(supported != 0)
    }

    fn start_set(&mut self) -> Result<Id, Code> {
        let mut set = NO_PROVIDER;
        // SAFETY: the type is that method's, and the id lives until the call returns.
        check(unsafe {
            let start =
                self.object.method::<unsafe extern "system" fn(This, *mut GUID) -> HRESULT>(method::START_SNAPSHOT_SET);
            start(self.object.this(), &raw mut set)
        })?;
        Ok(id(&set))
    }

    fn add(&mut self, root: &str) -> Result<Id, Code> {
        type AddToSnapshotSet = unsafe extern "system" fn(This, *const u16, GUID, *mut GUID) -> HRESULT;
        let (root, mut snapshot) = (wide(root), NO_PROVIDER);
        // SAFETY: the type is that method's, the text ends with a zero, and the id lives until the call returns.
        check(unsafe {
            let add = self.object.method::<AddToSnapshotSet>(method::ADD_TO_SNAPSHOT_SET);
            add(self.object.this(), root.as_ptr(), NO_PROVIDER, &raw mut snapshot)
        })?;
        Ok(id(&snapshot))
    }

    fn troubled_writers(&mut self) -> Result<Vec<Writer>, Code> {
        let writers = self.writers();
        // SAFETY: the type is that method's.
        let _ = unsafe { self.object.method::<Plain>(method::FREE_WRITER_STATUS)(self.object.this()) };
        writers
    }

    fn device_of(&mut self, snapshot: Id) -> Result<String, Code> {
        type GetSnapshotProperties = unsafe extern "system" fn(This, GUID, *mut Properties) -> HRESULT;
        let mut properties = MaybeUninit::<Properties>::zeroed();
        // SAFETY: the type is that method's; on success the structure is filled, its text ends with a zero, and it is given
        // back to the library that filled it.
        unsafe {
            let get = self.object.method::<GetSnapshotProperties>(method::GET_SNAPSHOT_PROPERTIES);
            check(get(self.object.this(), guid(snapshot), properties.as_mut_ptr()))?;
            let device = properties.assume_init_ref().device;
            let text = if device.is_null() { String::new() } else { nt::text_of(device) };
            (self.free_properties)(properties.as_mut_ptr());
            Ok(text)
        }
    }

    fn abort(&mut self) {
        // SAFETY: the type is that method's.
        let _ = unsafe { self.object.method::<Plain>(method::ABORT_BACKUP)(self.object.this()) };
    }

    fn delete_set(&mut self, set: Id) -> Result<(), Code> {
        let (mut deleted, mut kept) = (0, NO_PROVIDER);
        // SAFETY: the type is that method's, and number and id live until the call returns.
        check(unsafe {
            let delete = self.object.method::<DeleteSnapshots>(method::DELETE_SNAPSHOTS);
            delete(self.object.this(), guid(set), OBJECT_SNAPSHOT_SET, 1, &raw mut deleted, &raw mut kept)
        })
    }
}

fn id(guid: &GUID) -> Id {
    let head = u128::from(guid.data1) << 96 | u128::from(guid.data2) << 80 | u128::from(guid.data3) << 64;
    Id(head | u128::from(u64::from_be_bytes(guid.data4)))
}

fn guid(id: Id) -> GUID {
    GUID::from_u128(id.0)
}

#[cfg(test)]
mod tests {
    use super::{Id, Properties, guid, id};
    use std::mem::offset_of;

    #[test]
    fn the_structure_lies_in_memory_as_the_service_fills_it() {
        assert_eq!((offset_of!(Properties, device), offset_of!(Properties, provider)), (40, 88));
        assert_eq!((offset_of!(Properties, created), size_of::<Properties>()), (112, 128));
    }

    #[test]
    fn an_id_survives_its_way_through_the_ledger() {
        let set = Id(0x507c_37b4_cf5b_4e95_b0af_14eb_9767_467e);
        assert_eq!(id(&guid(set)), set);
        assert_eq!(guid(set).data1, 0x507c_37b4);
    }
}
