//! A menu that opens at the pointer and answers with what was chosen.

use std::ptr::null;

use windows_sys::Win32::Foundation::{HWND, POINT};
use windows_sys::Win32::UI::WindowsAndMessaging::{
    AppendMenuW, CreatePopupMenu, DestroyMenu, GetCursorPos, GetSystemMetrics, HMENU, MF_DISABLED, MF_GRAYED, MF_POPUP,
    MF_SEPARATOR, MF_STRING, PostMessageW, SM_MENUDROPALIGNMENT, SetForegroundWindow, SetMenuDefaultItem,
    TPM_LEFTALIGN, TPM_NONOTIFY, TPM_RETURNCMD, TPM_RIGHTALIGN, TPM_RIGHTBUTTON, TrackPopupMenuEx, WM_NULL,
};

use crate::nt::wide;
use crate::tray::{Answer, Entry};

/// A menu of Windows, with what each line of it answers.
pub(super) struct Menu<A> {
    handle: HMENU,
    /// The answer of line `n + 1`.
    answers: Vec<A>,
}

/// The line that says how things stand; no answer's number.
const HEADING: usize = 0xFFFF;

impl<A: Answer> Menu<A> {
    pub(super) fn of(entries: &[Entry<A>]) -> Option<Self> {
        // SAFETY: nothing goes in; the menu is ours.
        let handle = unsafe { CreatePopupMenu() };
        if handle.is_null() {
            return None;
        }
        let mut menu = Self { handle, answers: Vec::new() };
        for entry in entries {
            match entry {
                Entry::Heading(label) => {
                    menu.append(handle, MF_STRING | MF_DISABLED, HEADING, label);
                    // SAFETY: it is our menu. Bold, as what a menu is about.
                    unsafe { SetMenuDefaultItem(handle, HEADING as u32, 0) };
                }
                Entry::Text(label) => menu.append(handle, MF_STRING | MF_DISABLED | MF_GRAYED, 0, label),
                Entry::Button(label, answer) => menu.button(handle, label, answer),
                Entry::Group(label, entries) => {
                    // SAFETY: nothing goes in; the menu goes with the one it is put into.
                    let group = unsafe { CreatePopupMenu() };
                    if !group.is_null() {
                        entries.iter().for_each(|(label, answer)| menu.button(group, label, answer));
                        menu.append(handle, MF_POPUP, group as usize, label);
                    }
                }
                Entry::Separator => menu.append(handle, MF_SEPARATOR, 0, ""),
            }
        }
        Some(menu)
    }

    fn button(&mut self, to: HMENU, label: &str, answer: &A) {
        self.answers.push(answer.clone());
        self.append(to, MF_STRING, self.answers.len(), label);
    }

    fn append(&self, to: HMENU, kind: u32, number: usize, label: &str) {
        // A single ampersand would mark a key to press.
        let label = wide(&label.replace('&', "&&"));
        // SAFETY: the menu is ours, and the text ends with a zero and is copied. A line that is missing is no harm.
        let _ = unsafe { AppendMenuW(to, kind, number, label.as_ptr()) };
    }

    /// Opens it at the pointer and waits for a choice.
    pub(super) fn ask(self, window: HWND) -> Option<A> {
        let mut at = POINT::default();
        // SAFETY: the window is ours and this its thread; the point lives until the call returns. A menu closes on a click
        // beside it only when its window is in front, and the message behind it makes that hold the second time, too.
        let chosen = unsafe {
            let align = if GetSystemMetrics(SM_MENUDROPALIGNMENT) == 0 { TPM_LEFTALIGN } else { TPM_RIGHTALIGN };
            GetCursorPos(&raw mut at);
            SetForegroundWindow(window);
            let flags = TPM_RETURNCMD | TPM_NONOTIFY | TPM_RIGHTBUTTON | align;
            let chosen = TrackPopupMenuEx(self.handle, flags, at.x, at.y, window, null());
            PostMessageW(window, WM_NULL, 0, 0);
            chosen
        };
        let number = usize::try_from(chosen).ok()?.checked_sub(1)?;
        self.answers.get(number).cloned()
    }
}

impl<A> Drop for Menu<A> {
    fn drop(&mut self) {
        // SAFETY: it is ours, with the groups in it.
        unsafe { DestroyMenu(self.handle) };
    }
}
